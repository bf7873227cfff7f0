//! Validates JSON against the schemas of the document. An unknown keyword is a fault, so that none is ignored.

use serde_json::{Map, Value};

/// Keywords without a check here.
const WORDS: [&str; 12] = [
    "description",
    "title",
    "default",
    "$defs",
    "x-events",
    "contentMediaType",
    "examples",
    "format",
    "required",
    "properties",
    "additionalProperties",
    "unevaluatedProperties",
];

/// The faults of a value, each with its place; empty if it fits.
pub(super) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut all = Vec::new();
    check(document, schema, value, "", &mut all);
    all
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, all: &mut Vec<String>) {
    let Value::Object(members) = schema else {
        assert!(schema.is_boolean(), "a schema is an object or a boolean: {schema}");
        if schema == false {
            all.push(format!("{at} must not be there"));
        }
        return;
    };
    if let Some(there) = members.get("$ref") {
        let there = document.pointer(there.as_str().unwrap().trim_start_matches('#'));
        check(document, there.unwrap_or_else(|| panic!("{schema} leads nowhere")), value, at, all);
    }
    let mut misfits = 0;
    let mut say = |fits: bool| misfits += u32::from(!fits);
    let fits = |schema: &&Value| faults(document, schema, value).is_empty();
    let number = value.as_f64();
    let text = value.as_str();
    let length = text.map(|text| text.chars().count() as u64);
    for (keyword, wanted) in members {
        match keyword.as_str() {
            "$ref" => {}
            "type" => say(types(wanted).iter().any(|kind| is(kind, value))),
            "const" => say(wanted == value),
            "enum" => say(wanted.as_array().unwrap().contains(value)),
            "minimum" => say(number.is_none_or(|n| n >= wanted.as_f64().unwrap())),
            "maximum" => say(number.is_none_or(|n| n <= wanted.as_f64().unwrap())),
            "minLength" => say(length.is_none_or(|n| n >= wanted.as_u64().unwrap())),
            "maxLength" => say(length.is_none_or(|n| n <= wanted.as_u64().unwrap())),
            "pattern" => {
                let pattern = regex::Regex::new(wanted.as_str().unwrap()).unwrap();
                say(text.is_none_or(|text| pattern.is_match(text)));
            }
            "anyOf" => say(wanted.as_array().unwrap().iter().any(|schema| fits(&schema))),
            "oneOf" => say(wanted.as_array().unwrap().iter().filter(fits).count() == 1),
            "allOf" => wanted.as_array().unwrap().iter().for_each(|schema| check(document, schema, value, at, all)),
            "maxItems" => say(value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap())),
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, wanted, item, &format!("{at}[{number}]"), all);
                }
            }
            known => assert!(WORDS.contains(&known), "the keyword {known} is not known here: {schema}"),
        }
    }
    if misfits > 0 {
        all.push(format!("{at}: {value} does not fit {schema}"));
    }
    match members.get("format").and_then(Value::as_str) {
        Some("date-time") => say_time(value, at, all),
        Some("date") => {
            let day = value.as_str().is_none_or(|text| text.parse::<chrono::NaiveDate>().is_ok());
            if !day {
                all.push(format!("{at}: {value} is no day"));
            }
        }
        None | Some("int32" | "int64" | "uint" | "uint8" | "uint16" | "uint32" | "uint64" | "double") => {}
        Some(other) => panic!("the format {other} is not known here"),
    }
    if let Value::Object(object) = value {
        fields(document, members, object, at, all);
    }
}

fn say_time(value: &Value, at: &str, all: &mut Vec<String>) {
    if value.as_str().is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_err()) {
        all.push(format!("{at}: {value} is no time"));
    }
}

fn fields(document: &Value, schema: &Map<String, Value>, object: &Map<String, Value>, at: &str, all: &mut Vec<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !object.contains_key(name.as_str().unwrap()) {
            all.push(format!("{at}.{} is missing", name.as_str().unwrap()));
        }
    }
    for (name, value) in object {
        let at = format!("{at}.{name}");
        match (properties.and_then(|known| known.get(name)), schema.get("additionalProperties")) {
            (Some(known), _) => check(document, known, value, &at, all),
            (None, Some(other)) => check(document, other, value, &at, all),
            (None, None) => {}
        }
    }
}

fn types(wanted: &Value) -> Vec<&str> {
    match wanted {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the type {other} is not known here"),
    }
}

/// Members of a value that its schema does not name, each with its place.
pub(super) fn unnamed(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut all = Vec::new();
    look(document, &[schema], value, "", &mut all);
    all
}

fn look(document: &Value, schemas: &[&Value], value: &Value, at: &str, all: &mut Vec<String>) {
    let mut plain = Vec::new();
    for schema in schemas {
        parts(document, schema, &mut plain);
    }
    let of = |keyword: &str| plain.iter().filter_map(|schema| schema.get(keyword)).collect::<Vec<_>>();
    match value {
        Value::Array(items) => {
            let wanted = of("items");
            items.iter().enumerate().for_each(|(number, item)| {
                look(document, &wanted, item, &format!("{at}[{number}]"), all);
            });
        }
        Value::Object(members) => {
            for (name, member) in members {
                let mut known: Vec<&Value> = of("properties").iter().filter_map(|all| all.get(name)).collect();
                known.extend(of("additionalProperties").into_iter().filter(|other| *other != &Value::Bool(false)));
                let at = format!("{at}.{name}");
                if known.is_empty() {
                    all.push(at);
                } else {
                    look(document, &known, member, &at, all);
                }
            }
        }
        _ => {}
    }
}

/// A schema and all schemas that it consists of.
fn parts<'a>(document: &'a Value, schema: &'a Value, all: &mut Vec<&'a Value>) {
    all.push(schema);
    if let Some(there) = schema["$ref"].as_str() {
        parts(document, document.pointer(there.trim_start_matches('#')).unwrap(), all);
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        schema[keyword].as_array().into_iter().flatten().for_each(|part| parts(document, part, all));
    }
}

#[test]
fn faults_of_values_are_found() {
    use serde_json::json;
    let document = json!({ "components": { "schemas": { "Word": { "type": "string", "pattern": "^[a-z]+$" } } } });
    let word = json!({ "$ref": "#/components/schemas/Word" });
    for (schema, good, bad) in [
        (word.clone(), json!("a"), json!("A")),
        (json!({ "type": ["string", "null"] }), json!(null), json!(1)),
        (json!({ "type": "integer", "minimum": 1, "maximum": 2 }), json!(2), json!(3)),
        (json!({ "type": "integer" }), json!(2), json!(2.5)),
        (json!({ "type": "array", "items": word }), json!(["a"]), json!(["a", "1"])),
        (json!({ "properties": { "a": word }, "required": ["a"] }), json!({ "a": "b" }), json!({ "b": "b" })),
        (json!({ "properties": { "a": word } }), json!({ "b": 1 }), json!({ "a": 1 })),
        (json!({ "properties": {}, "additionalProperties": false }), json!({}), json!({ "b": "b" })),
        (json!({ "type": "object", "additionalProperties": word }), json!({ "b": "b" }), json!({ "b": 1 })),
        (json!({ "oneOf": [{ "const": "a" }, { "const": "b" }] }), json!("b"), json!("c")),
        (json!({ "oneOf": [word, { "type": "string" }] }), json!("1"), json!("a")),
        (json!({ "anyOf": [word, { "type": "null" }] }), json!(null), json!(1)),
        (json!({ "allOf": [word], "enum": ["a"] }), json!("a"), json!("b")),
        (json!({ "type": "string", "format": "date-time" }), json!("2031-05-17T09:30:00.000Z"), json!("2031-05-17")),
        (json!({ "type": "string", "maxLength": 1 }), json!("é"), json!("éé")),
        (json!(true), json!(1), json!(null)),
    ] {
        assert!(faults(&document, &schema, &good).is_empty(), "{schema} {good}");
        assert!(schema == true || !faults(&document, &schema, &bad).is_empty(), "{schema} {bad}");
    }
    assert!(!faults(&document, &json!(false), &json!(1)).is_empty());
    let whole = json!({ "allOf": [{ "properties": { "a": { "items": { "properties": { "b": true } } } } }] });
    assert_eq!(unnamed(&document, &whole, &json!({ "a": [{ "b": 1 }, { "c": 1 }], "d": 1 })), [".a[1].c", ".d"]);
}
