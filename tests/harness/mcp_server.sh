# An MCP server as a group's agent might write one: a shell, a line of JSON for each line of JSON.
# Its tools: `tell` says what the server was called with, `hidden` is there to be denied, `die` ends the server.
echo $$ > "${SERVER_PID_FILE:-/dev/null}"
answer() {
    printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"
}
while read -r line; do
    id=$(printf '%s\n' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
    case $line in
    *'"initialize"'*)
        answer '{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"mood","version":"1"}}'
        ;;
    *'"tools/list"'*)
        tool='"description":"Tells the mood.","inputSchema":{"type":"object","properties":{"who":{"type":"string"}}}'
        answer "{\"tools\":[{\"name\":\"tell\",$tool},{\"name\":\"hidden\",$tool},{\"name\":\"die\",$tool}]}"
        ;;
    *'"die"'*) exit 1 ;;
    *'"tools/call"'*)
        who=$(printf '%s\n' "$line" | sed -n 's/.*"who":"\([a-z]*\)".*/\1/p')
        answer "{\"content\":[{\"type\":\"text\",\"text\":\"$who is $MOOD, $COLOUR, $*\"}]}"
        ;;
    esac
done
