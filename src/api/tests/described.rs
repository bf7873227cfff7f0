//! Compares the OpenAPI document with the routes, their answers, and docs/API.md.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::schema::{faults, unnamed};
use super::{Answer, start};
use crate::api::problem::CODES;
use crate::api::router;

pub(super) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| router::routes().into_parts().1.json())
}

/// Every operation: method in capitals, path, and its description in the document.
fn operations() -> impl Iterator<Item = (String, &'static str, &'static Value)> {
    document()["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.as_str(), operation))
    })
}

/// Finds an operation by its method and a request's target.
fn operation(method: &str, target: &str) -> Option<&'static Value> {
    let target = target.split('?').next().unwrap();
    let fits = |path: &str| {
        let (path, target): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), target.split('/').collect());
        path.len() == target.len() && path.iter().zip(target).all(|(one, other)| one.starts_with('{') || *one == other)
    };
    // A literal path takes precedence over one with a placeholder.
    let found = operations().filter(|(of, path, _)| of == method && fits(path));
    found.min_by_key(|(_, path, _)| path.contains('{')).map(|(_, _, operation)| operation)
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(there) => document().pointer(there.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// The content of an answer, by media type.
fn content(operation: &'static Value, status: &str) -> &'static Value {
    &resolved(&operation["responses"][status])["content"]
}

/// Checks an answer against the document.
#[track_caller]
pub(super) fn hold(method: &str, target: &str, answer: &Answer) {
    let Some(operation) = operation(method, target) else {
        assert!([404, 405].contains(&answer.status), "{method} {target} is not in the document: {answer:?}");
        return;
    };
    let status = answer.status.to_string();
    let described = operation["responses"].get(&status);
    assert!(described.is_some(), "{method} {target} does not know of {status}: {answer:?}");
    let content = content(operation, &status);
    let Some(kind) = answer.headers.get("content-type") else {
        assert!(content.is_null() && answer.body.is_empty(), "{method} {target}: {status} has no type");
        return;
    };
    let kind = kind.to_str().unwrap().split(';').next().unwrap();
    let schema = &content[kind]["schema"];
    assert!(schema.is_object(), "{method} {target} does not know of {status} with {kind}");
    if kind.ends_with("json") {
        fits(&format!("{method} {target} {status}"), schema, &answer.json());
    }
}

/// Checks a value against a schema, which must name all members of the value.
#[track_caller]
pub(super) fn fits(what: &str, schema: &Value, value: &Value) {
    let wrong = faults(document(), schema, value);
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
    let more = if schema == &json!({ "type": "object" }) { Vec::new() } else { unnamed(document(), schema, value) };
    assert!(more.is_empty(), "{what} is not described: {more:?}");
}

/// Checks the data of an event against its schema.
#[track_caller]
pub(super) fn event(name: &str, data: &Value) {
    let stream = &operation("GET", "/v1/events").unwrap()["responses"]["200"]["content"]["text/event-stream"];
    let schema = &stream["schema"]["x-events"][name];
    assert!(schema.is_object(), "the event {name} is not described");
    fits(name, schema, data);
}

#[tokio::test]
async fn document_has_exactly_the_routes_of_the_router() {
    let api = start().await;
    let served = api.call("GET", "/v1/openapi.json", None).await;
    assert_eq!((&served.json(), served.headers["content-type"].to_str().unwrap()), (document(), "application/json"));
    let mut by_path: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (method, path, operation) in operations() {
        assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
        by_path.entry(path).or_default().insert(method);
    }
    for (path, methods) in by_path {
        // A `405` must name all methods of the path.
        let target = path.replace("{jid}", "web:a").replace("{folder}", "a").replace("{id}", "a");
        let refused = api.call("PUT", &target, None).await;
        refused.problem(405, "method_not_allowed");
        let allowed = refused.headers["allow"].to_str().unwrap().split(',').map(str::to_owned);
        assert_eq!(allowed.filter(|method| method != "HEAD").collect::<BTreeSet<_>>(), methods, "{path}");
    }
    let ids: BTreeSet<&str> =
        operations().map(|(_, _, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations().count());
    api.end().await;
}

#[test]
fn document_references_resolve_and_every_schema_is_used() {
    fn references<'a>(value: &'a Value, all: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                all.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, all));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, all)),
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    references(document(), &mut all);
    for there in &all {
        assert!(document().pointer(there.trim_start_matches('#')).is_some(), "{there}");
    }
    for kind in ["schemas", "responses"] {
        for name in document()["components"][kind].as_object().unwrap().keys() {
            assert!(all.contains(&*format!("#/components/{kind}/{name}")), "{kind}/{name} is not used");
        }
    }
}

/// A method, a path, and the names of query parameters.
type Route = (String, String, BTreeSet<String>);

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/API.md")).unwrap()
}

/// The backquoted texts of a line that are a method and a path.
fn routes(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|text| text.split_once(' '))
        .filter(|(method, path)| ["GET", "POST", "PATCH", "DELETE"].contains(method) && path.starts_with('/'))
}

#[test]
fn api_page_has_the_routes_and_parameters_of_the_document() {
    let page = page();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeSet<Route> = rows
        .filter_map(|line| routes(line.split('|').nth(1)?).next())
        .map(|(method, target)| {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let names = query.split('&').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            (method.to_owned(), path.to_owned(), names)
        })
        .collect();
    let described: BTreeSet<Route> = operations()
        .map(|(method, path, operation)| {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let names = parameters
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| format!("{}=", parameter["name"].as_str().unwrap()))
                .collect();
            (method, path.to_owned(), names)
        })
        .collect();
    assert_eq!(documented, described);
}

#[test]
fn api_page_has_the_error_codes_of_the_document_by_status() {
    let page = page();
    let (_, table) = page.split_once("| status | codes |").unwrap();
    let mut documented = BTreeSet::new();
    for row in table.lines().filter_map(|line| line.strip_prefix("| ")) {
        let (status, codes) = row.split_once(" | ").unwrap();
        let codes = codes.split('`').skip(1).step_by(2).filter(|code| !code.contains(['/', '-']));
        documented.extend(codes.map(|code| (status.parse::<u16>().unwrap(), code)));
    }
    assert_eq!(documented, BTreeSet::from(CODES));
}

/// The examples of docs/API.md: the text between the last heading and the block, and the block.
fn examples(page: &str) -> Vec<(&str, Value)> {
    let mut all = Vec::new();
    for section in page.split("\n#").skip(1) {
        let heading = section.lines().next().unwrap();
        for block in section.split("```json\n").skip(1) {
            let block = block.split("```").next().unwrap();
            all.push((heading, serde_json::from_str(block).unwrap_or_else(|e| panic!("{heading}: {e}\n{block}"))));
        }
    }
    all
}

#[test]
fn api_page_examples_fit_their_schemas_and_every_answer_has_one() {
    let page = page();
    let mut shown = BTreeSet::new();
    for (heading, example) in examples(&page) {
        let mut found = false;
        for (method, path) in routes(heading) {
            found = true;
            let operation = operation(method, path).unwrap_or_else(|| panic!("{heading}"));
            let status = ["200", "201", "202"].into_iter().find(|status| !operation["responses"][status].is_null());
            let schema = &content(operation, status.unwrap())["application/json"]["schema"];
            fits(heading, schema, &example);
            shown.insert((method, path));
        }
        if let Some(name) = heading.trim_start_matches('#').trim().strip_prefix("Event ") {
            found = true;
            event(name.trim_matches('`'), &example);
        }
        if heading.trim_start_matches('#').trim() == "Errors" {
            found = true;
            let code = CODES.iter().find(|(_, code)| example["code"] == *code);
            assert!(code.is_some_and(|(status, _)| example["status"] == *status), "{example}");
            fits(heading, &json!({ "$ref": "#/components/schemas/Problem" }), &example);
        }
        assert!(found, "an example under {heading:?} belongs to nothing");
    }
    for (method, path, operation) in operations() {
        let answers = ["200", "201", "202"].iter().any(|status| {
            let schema = &content(operation, status)["application/json"]["schema"];
            schema.is_object() && schema != &json!({ "type": "object" })
        });
        assert!(!answers || shown.contains(&(method.as_str(), path)), "{method} {path} has no example");
    }
}
