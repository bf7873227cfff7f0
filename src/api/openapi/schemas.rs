//! The JSON Schemas of requests and of answers. A type may have two schemas: a request may leave out a field with a
//! default, but an answer always has it.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

/// The place of schemas in the document.
const PLACE: &str = "/components/schemas";

/// One generator for requests and one for answers.
pub(super) struct Schemas {
    taken: SchemaGenerator,
    given: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = PLACE.into();
                settings.meta_schema = None;
            })
        };
        Self {
            taken: settings().for_deserialize().into_generator(),
            given: settings().for_serialize().into_generator(),
        }
    }

    /// The schema of a request's part; a reference if the type has a name.
    pub(super) fn taken<T: JsonSchema>(&mut self) -> Value {
        self.taken.subschema_for::<T>().to_value()
    }

    /// The schema of a request's part, never a reference.
    pub(super) fn taken_whole<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.taken).to_value()
    }

    /// The schema of an answer's part.
    pub(super) fn given<T: JsonSchema>(&mut self) -> Value {
        self.given.subschema_for::<T>().to_value()
    }

    /// All named schemas. If a type has two different ones, the request's is named `…Input`, and references in
    /// `paths` follow.
    pub(super) fn finish(mut self, paths: &mut Value) -> Map<String, Value> {
        let mut all = self.given.take_definitions(true);
        let mut taken = self.taken.take_definitions(true);
        let differs = |name: &String| {
            let (one, other) = (all.get(name), taken.get(name));
            one.is_some() && one != other
        };
        let renamed: Vec<String> = taken.keys().filter(|name| differs(name)).cloned().collect();
        let requests = paths.as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
        let requests = requests.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut());
        for part in requests.filter_map(|operation| operation.get_mut("requestBody")).chain(taken.values_mut()) {
            rename(part, &renamed);
        }
        for (name, schema) in taken {
            let name = if renamed.contains(&name) { input(&name) } else { name };
            all.insert(name, schema);
        }
        all
    }
}

fn input(name: &str) -> String {
    format!("{name}Input")
}

/// Changes references to these names into references to their `…Input` schemas.
fn rename(value: &mut Value, names: &[String]) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let name = member.as_str().and_then(|text| text.rsplit_once('/')).map(|(_, name)| name.to_owned());
                match name {
                    Some(name) if key == "$ref" && names.contains(&name) => {
                        *member = format!("#{PLACE}/{}", input(&name)).into();
                    }
                    _ => rename(member, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

/// The schema of a number from 1 to `MAX`.
pub(in crate::api) fn at_most<const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX })
}
