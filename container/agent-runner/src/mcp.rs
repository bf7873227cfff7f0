//! `agent-runner mcp`: the host tools for models, as an MCP server on stdin and stdout.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool as Offer, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer, ServiceExt};
use rmcp::{ServerHandler, transport};

use crate::tools::{self, Context, Done, Tool, Trouble};

/// Time that the host may take to answer: a model can wait longer than a script.
const PATIENCE: Duration = Duration::from_secs(10);

const INSTRUCTIONS: &str = "Tools of Parlor, the host of this chat. Each waits for the host's answer: an error means that it \
                            was not done, or says that it is not known yet. Files are below /workspace/group.";

/// The MCP server of one run.
#[derive(Debug, Clone)]
struct Server {
    context: Arc<Context>,
}

/// Serves requests until stdin ends.
pub fn main() -> ExitCode {
    let context = Context { patience: PATIENCE, ..Context::load() };
    let served =
        tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|e| e.to_string()).and_then(
            |runtime| {
                let served = runtime.block_on(serve(Server { context: Arc::new(context) }));
                // A blocked read of stdin must not delay the exit.
                runtime.shutdown_background();
                served
            },
        );
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("the MCP server ended: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(server: Server) -> Result<(), String> {
    let service = server.serve(transport::stdio()).await.map_err(|error| error.to_string())?;
    service.waiting().await.map(drop).map_err(|error| error.to_string())
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("parlor", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let is_main = self.context.is_main;
        Ok(ListToolsResult::with_all_items(tools::offered(is_main).map(|tool| offer(tool, is_main)).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // A tool that was not offered is called all the same: the host refuses it, and says why.
        let Some(tool) = tools::all().find(|tool| tool.name == request.name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None));
        };
        let (context, args) = (Arc::clone(&self.context), request.arguments.unwrap_or_default());
        // A separate thread waits for the host, so that other requests are answered meanwhile.
        let called = tokio::task::spawn_blocking(move || tool.call(args, &context)).await;
        Ok(match called {
            Ok(outcome) => result(outcome).into(),
            Err(error) => return Err(ErrorData::internal_error(error.to_string(), None)),
        })
    }
}

fn offer(tool: &'static Tool, is_main: bool) -> Offer {
    Offer::new(tool.name, tool.about, tool.schema(is_main))
        .with_annotations(ToolAnnotations::new().read_only(tool.reads).open_world(false))
}

fn result(outcome: Result<Done, Trouble>) -> CallToolResult {
    match outcome {
        Ok(Done { text, data }) => {
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            result.structured_content = data;
            result
        }
        Err(trouble) => CallToolResult::error(vec![ContentBlock::text(trouble.reason())]),
    }
}
