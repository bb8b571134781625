//! Mistakes in policies, entities and schemas: `mistakes.txt` beside this file.

#[path = "../../../testing/mistakes.rs"]
mod table;

use self::table::Mistake;
use super::*;

#[test]
fn each_mistake_has_its_message() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/mistakes.txt");
    table::check(path, "policies", 40, problems);
}

fn problems(mistake: &Mistake) -> Vec<Problem> {
    let mut settings = serde_json::Map::new();
    for (key, text) in &mistake.parts {
        let value = match key.as_str() {
            "entities" => serde_json::from_str(text).expect(&mistake.name),
            "warnings" => json!(true),
            "policies" if text.trim().is_empty() => json!(ANY),
            _ => json!(text),
        };
        settings.insert(key.clone(), value);
    }
    let parsed = parse_settings(&Value::Object(settings).to_string()).expect(&mistake.name);
    prepare(parsed).err().unwrap_or_default()
}
