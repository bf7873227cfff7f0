//! The description of one operation: a method of a path.

use std::collections::BTreeMap;

use http::StatusCode;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use crate::api::problem::CODES;
use crate::channel::intake::attach::MAX_FILES;

/// A refusal that many operations share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Status {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    Timeout,
    Conflict,
    Gone,
    TooLarge,
    MediaType,
    Internal,
    Unavailable,
}

impl Status {
    const ALL: [Self; 11] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Timeout,
        Self::Conflict,
        Self::Gone,
        Self::TooLarge,
        Self::MediaType,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Its status number, its name in the document, and its description.
    fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequest => (400, "BadRequest", "The request is wrong; `detail` names the field"),
            Self::Unauthorized => (401, "Unauthorized", "On TCP: the token is missing or wrong"),
            Self::Forbidden => (403, "Forbidden", "On TCP: a foreign host or origin; or a chat of another channel"),
            Self::NotFound => (404, "NotFound", "It is not there"),
            Self::Timeout => (408, "Timeout", "The body took too long"),
            Self::Conflict => (409, "Conflict", "The present state does not allow it"),
            Self::Gone => (410, "Gone", "The cursor is not valid any more: go on from `cursor`"),
            Self::TooLarge => (413, "TooLarge", "The body is too large"),
            Self::MediaType => (415, "MediaType", "The body's content type is not taken"),
            Self::Internal => (500, "Internal", "The host failed"),
            Self::Unavailable => {
                (503, "Unavailable", "Not at the moment; try again, where it is given after `Retry-After`")
            }
        }
    }
}

/// The shared responses by name.
pub(super) fn refusals(problem: &Value) -> Value {
    let refusal = |status: Status| {
        let (number, name, when) = status.parts();
        let codes: Vec<&str> = CODES.iter().filter(|(of, _)| *of == number).map(|(_, code)| *code).collect();
        let schema = json!({
            "allOf": [problem],
            "properties": { "status": { "const": number }, "code": { "enum": codes } },
        });
        let mut response =
            json!({ "description": when, "content": { "application/problem+json": { "schema": schema } } });
        if status == Status::Unavailable {
            response["headers"]["Retry-After"] = json!({ "description": "Seconds, where they are known", "schema": { "type": "integer", "minimum": 0 } });
        }
        (name.to_owned(), response)
    };
    Value::Object(Status::ALL.into_iter().map(refusal).collect())
}

/// The description of an operation, as it is built.
pub(in crate::api) struct Operation {
    path: &'static str,
    schemas: Schemas,
    described: Map<String, Value>,
    parameters: Vec<Value>,
    content: Map<String, Value>,
    required: bool,
    responses: BTreeMap<u16, Value>,
}

impl Operation {
    pub(super) fn new(path: &'static str, schemas: Schemas) -> Self {
        let operation = Self {
            path,
            schemas,
            described: Map::new(),
            parameters: Vec::new(),
            content: Map::new(),
            required: false,
            responses: BTreeMap::new(),
        };
        operation.fails(&[Status::Unauthorized, Status::Forbidden, Status::Unavailable])
    }

    /// Sets its id and its summary.
    pub(in crate::api) fn is(mut self, id: &str, summary: &str) -> Self {
        self.described.insert("operationId".into(), id.into());
        self.described.insert("summary".into(), summary.into());
        self
    }

    /// Sets its long description.
    pub(in crate::api) fn explained(mut self, text: &str) -> Self {
        self.described.insert("description".into(), text.into());
        self
    }

    /// Adds refusals.
    pub(in crate::api) fn fails(mut self, with: &[Status]) -> Self {
        for status in with {
            let (number, name, _) = status.parts();
            self.responses.insert(number, json!({ "$ref": format!("#/components/responses/{name}") }));
        }
        self
    }

    /// Adds an answer without a body; [`Self::content`] adds a body.
    pub(in crate::api) fn answers(mut self, status: StatusCode, what: &str) -> Self {
        self.responses.insert(status.as_u16(), json!({ "description": what }));
        self
    }

    /// Sets the body of an answer that is not JSON of a type.
    pub(in crate::api) fn content(mut self, status: StatusCode, kind: &str, schema: &Value) -> Self {
        if let Some(response) = self.responses.get_mut(&status.as_u16()) {
            response["content"][kind] = json!({ "schema": schema });
        }
        self
    }

    /// Adds a header to an answer.
    pub(in crate::api) fn header(mut self, status: StatusCode, name: &str, what: &str) -> Self {
        if let Some(response) = self.responses.get_mut(&status.as_u16()) {
            response["headers"][name] = json!({ "description": what, "schema": { "type": "string" } });
        }
        self
    }

    pub(super) fn answers_json<T: JsonSchema>(mut self, status: StatusCode) -> Self {
        let schema = self.schemas.given::<T>();
        let what = status.canonical_reason().unwrap_or("Done");
        self.answers(status, what).content(status, "application/json", &schema)
    }

    /// Returns the schema of an answer's type, for a place of its own.
    pub(in crate::api) fn given<T: JsonSchema>(&mut self) -> Value {
        self.schemas.given::<T>()
    }

    /// Adds a parameter in a header.
    pub(in crate::api) fn takes_header(mut self, name: &str, what: &str) -> Self {
        let schema = json!({ "type": "string" });
        self.parameters.push(json!({ "name": name, "in": "header", "description": what, "schema": schema }));
        self
    }

    /// Sets a JSON body.
    pub(in crate::api) fn body<T: JsonSchema>(mut self, required: bool) -> Self {
        let schema = self.schemas.taken::<T>();
        self.content.insert("application/json".into(), json!({ "schema": schema }));
        self.required = required;
        self.fails(&[Status::BadRequest, Status::Timeout, Status::TooLarge, Status::MediaType])
    }

    /// Adds the alternative as a form: the JSON in the first part, files in the others.
    pub(in crate::api) fn or_form<T: JsonSchema>(mut self) -> Self {
        let message = self.schemas.taken::<T>();
        let file = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
        // No `maxItems`: a message with more files is accepted, and the answer lists each surplus file as refused.
        let about = format!("The first {MAX_FILES} files are taken; the answer says of each other one that it is not.");
        let form = json!({
            "schema": {
                "type": "object",
                "properties": {
                    "message": message,
                    "file": { "type": "array", "items": file, "description": about },
                },
                "required": ["message"],
            },
            "encoding": { "message": { "contentType": "application/json" } },
        });
        self.content.insert("multipart/form-data".into(), form);
        self
    }

    pub(super) fn path_parameter<T: JsonSchema>(mut self) -> Self {
        let name = self.path.split(['{', '}']).nth(1).unwrap_or_default();
        let schema = self.schemas.taken::<T>();
        self.parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        self
    }

    pub(super) fn query_parameters<T: JsonSchema>(mut self) -> Self {
        let whole = self.schemas.taken_whole::<T>();
        for (name, schema) in whole["properties"].as_object().into_iter().flatten() {
            let mut schema = schema.clone();
            absent_instead_of_null(&mut schema);
            let mut parameter = json!({ "name": name, "in": "query" });
            if let Some(text) = schema.as_object_mut().and_then(|schema| schema.remove("description")) {
                parameter["description"] = text;
            }
            parameter["schema"] = schema;
            self.parameters.push(parameter);
        }
        self
    }

    pub(super) fn finish(mut self) -> (Value, Schemas) {
        let described = &mut self.described;
        if !self.parameters.is_empty() {
            described.insert("parameters".into(), self.parameters.into());
        }
        if !self.content.is_empty() {
            described.insert("requestBody".into(), json!({ "required": self.required, "content": self.content }));
        }
        let responses = self.responses.into_iter().map(|(status, response)| (status.to_string(), response));
        described.insert("responses".into(), Value::Object(responses.collect()));
        (Value::Object(self.described), self.schemas)
    }
}

/// Removes null from a parameter's schema: a query has no null, and a parameter without a value is left out.
fn absent_instead_of_null(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    if members.get("default").is_some_and(Value::is_null) {
        members.remove("default");
    }
    if let Some(Value::Array(kinds)) = members.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [one] = &kinds[..] {
            let one = one.clone();
            members.insert("type".into(), one);
        }
    }
    let Some(Value::Array(choices)) = members.get_mut("anyOf") else { return };
    choices.retain(|choice| choice["type"] != "null");
    if let [Value::Object(one)] = &choices[..] {
        let one = one.clone();
        members.remove("anyOf");
        members.extend(one);
    }
}
