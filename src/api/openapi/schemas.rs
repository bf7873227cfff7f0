//! The JSON Schemas of what is taken and of what is given. A type may differ in the two: a field with a default need not
//! be sent, but is always answered.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

/// Where the document keeps schemas.
const PLACE: &str = "/components/schemas";

/// Both generators.
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

    /// The schema of a request's part, by reference where it has a name.
    pub(super) fn taken<T: JsonSchema>(&mut self) -> Value {
        self.taken.subschema_for::<T>().to_value()
    }

    /// The schema of a request's part, written out.
    pub(super) fn taken_whole<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.taken).to_value()
    }

    /// The schema of an answer's part.
    pub(super) fn given<T: JsonSchema>(&mut self) -> Value {
        self.given.subschema_for::<T>().to_value()
    }

    /// All schemas with a name. Where a type's two differ, the one that is taken is called `…Input`, also in `paths`.
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

/// Leads references to these names to the ones for input.
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

/// The schema of a number from 1 to a largest one.
pub(in crate::api) fn at_most<const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX })
}
