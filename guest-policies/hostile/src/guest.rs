//! Guests in WebAssembly text, written against the canonical ABI.

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// The contract.
pub const CONTRACT: &str = include_str!("../../../wit/policy.wit");

/// A guest that abstains, with parts that a test replaces.
#[derive(Clone, Copy)]
pub struct Guest<'a> {
    /// The body of `evaluate`: returns the address of a verdict. `$claims` is the lowered run and
    /// token.
    pub evaluate: &'a str,
    /// The body of `configure`: returns the address of a result. `$pointer` and `$length` are the
    /// settings.
    pub configure: &'a str,
    /// The body of `cabi_realloc`: `$old $old_size $align $size`, returns an address.
    pub realloc: &'a str,
    /// The body of the function that is called after `evaluate`; `$verdict` is its result.
    pub post_return: &'a str,
    /// The memory.
    pub memory: &'a str,
    /// More fields of the module.
    pub more: &'a str,
}

/// The address of an abstention in the guest's memory.
pub const ABSTAIN: &str = "(i32.const 2048)";
/// The address of a permit that narrows nothing.
pub const PERMIT: &str = "(i32.const 2112)";
/// The address of a restriction that narrows nothing; its grant lies as the permit's does, 32 bytes later.
pub const RESTRICT: &str = "(i32.const 2144)";
/// A denial with one reason; its code's pointer is at 2304, its message's at 2312.
pub const DENY: &str = "(i32.const 2176)";

/// A guest that abstains.
pub const GUEST: Guest<'static> = Guest {
    evaluate: ABSTAIN,
    configure: "(i32.const 2240)",
    realloc: "
        (local $address i32)
        (local.set $address (i32.and
            (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
            (i32.sub (i32.const 0) (local.get $align))))
        (global.set $next (i32.add (local.get $address) (local.get $size)))
        (local.get $address)",
    post_return: "",
    memory: r#"(memory (export "memory") 1)"#,
    more: "",
};

impl Guest<'_> {
    /// The core module.
    #[must_use]
    pub fn module(&self) -> String {
        let Guest { evaluate, configure, realloc, post_return, memory, more } = self;
        let interface = "countersign:policy/policy@1.0.0";
        format!(
            r#"(module
                {memory}
                (global $next (mut i32) (i32.const 8192))
                (data (i32.const 1024) "\00\05\00\00\05\00\00\00\08\05\00\00\05\00\00\00\10\05\00\00\04\00\00\00\00\00\00\00\00\00\00\00")
                (data (i32.const 1280) "guest")
                (data (i32.const 1288) "1.0.0")
                (data (i32.const 1296) "test")
                (data (i32.const 2048) "\03")
                (data (i32.const 2112) "\00")
                (data (i32.const 2144) "\01")
                (data (i32.const 2176) "\02\00\00\00\00\09\00\00\01\00\00\00")
                (data (i32.const 2240) "\00")
                (data (i32.const 2304) "\80\09\00\00\02\00\00\00\84\09\00\00\07\00\00\00")
                (data (i32.const 2432) "no\00\00because")
                (func (export "cabi_realloc")
                    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
                    (result i32) {realloc})
                (func (export "{interface}#describe") (result i32) (i32.const 1024))
                (func (export "{interface}#configure")
                    (param $pointer i32) (param $length i32) (result i32) {configure})
                (func $evaluate (export "{interface}#evaluate")
                    (param $claims i32) (result i32) {evaluate})
                (func (export "cabi_post_{interface}#evaluate") (param $verdict i32) {post_return})
                {more})"#
        )
    }

    /// The component.
    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        component_of(CONTRACT, Some(&self.module()))
    }

    /// The component, with strings in Latin-1 or UTF-16, both lifted and lowered.
    #[must_use]
    pub fn component_in_either_encoding(&self) -> Vec<u8> {
        component_in(StringEncoding::CompactUTF16, CONTRACT, Some(&self.module()))
    }

    /// The component, with strings in UTF-16, both lifted and lowered.
    #[must_use]
    pub fn component_in_utf16(&self) -> Vec<u8> {
        component_in(StringEncoding::UTF16, CONTRACT, Some(&self.module()))
    }
}

/// A guest that accepts any settings and abstains, with this text as its settings schema.
#[must_use]
pub fn with_schema(schema: &str) -> Vec<u8> {
    let escape =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let place: u32 = 65_536;
    let length = u32::try_from(schema.len()).unwrap();
    let (pointer, text) = ([place.to_le_bytes(), length.to_le_bytes()].concat(), schema.as_bytes());
    let (pointer, text) = (escape(&pointer), escape(text));
    let more =
        format!(r#"(data (i32.const 1048) "{pointer}") (data (i32.const {place}) "{text}")"#);
    let memory = r#"(memory (export "memory") 4)"#;
    Guest { memory, more: &more, ..GUEST }.component()
}

/// A component of a world, of the given module or of one that has every export and none of the
/// behaviour.
#[must_use]
pub fn component_of(wit: &str, module: Option<&str>) -> Vec<u8> {
    component_in(StringEncoding::UTF8, wit, module)
}

/// A component of one of several worlds.
pub(crate) fn component_in_world(
    encoding: StringEncoding,
    wit: &str,
    world: &str,
    module: &str,
) -> Vec<u8> {
    encoded(encoding, wit, Some(world), Some(module))
}

fn component_in(encoding: StringEncoding, wit: &str, module: Option<&str>) -> Vec<u8> {
    encoded(encoding, wit, None, module)
}

fn encoded(
    encoding: StringEncoding,
    wit: &str,
    world: Option<&str>,
    module: Option<&str>,
) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], world).unwrap();
    let mut module = match module {
        Some(text) => wat::parse_str(text).unwrap(),
        None => {
            let abi = wit_parser::ManglingAndAbi::Standard32;
            wit_component::dummy_module(&resolve, world, abi)
        }
    };
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}
