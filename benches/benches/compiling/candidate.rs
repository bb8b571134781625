//! Components that are made of parts, each of which could cost more to compile than it weighs.

use std::fmt::Write as _;

/// A generator of numbers: the same seed, the same candidates.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        let index = self.below(items.len() as u64);
        *items.get(usize::try_from(index).unwrap_or(0)).unwrap_or(&items[0])
    }

    /// Small numbers as often as large ones.
    fn size(&mut self, most: u64) -> u64 {
        let bits = 64 - most.leading_zeros();
        let top = 1 << self.below(u64::from(bits) + 1);
        self.below(top + 1).min(most)
    }
}

/// A component of one module.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The number of functions with the body.
    functions: u64,
    params: u64,
    results: u64,
    ty: &'static str,
    locals: u64,
    parts: Vec<Part>,
    /// The number of instances, and what each initialises.
    instances: u64,
    passive: u64,
    active: u64,
    items: u64,
    globals: u64,
    types: u64,
    exports: u64,
}

/// A part of a body.
#[derive(Debug, Clone, Copy)]
struct Part {
    kind: Kind,
    /// The repetitions.
    count: u64,
    /// The values that each carries.
    values: u64,
    nested: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Loop,
    If,
    Branch,
    BranchIf,
    BranchTable,
    Call,
    CallIndirect,
    Join,
    JoinLoop,
    Reads,
    Operator(&'static str),
}

/// The most that the bodies of a candidate have as text: several times that of what passes.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Operators without an effect on the stack, as text.
pub(crate) const OPERATORS: [&str; 40] = [
    "(drop (memory.grow (i32.const 0)))",
    "(drop (memory.size))",
    "(drop (table.grow $t (ref.null func) (i32.const 0)))",
    "(drop (table.size $t))",
    "(drop (table.get $t (i32.const 0)))",
    "(table.set $t (i32.const 0) (ref.func $f0))",
    "(table.fill $t (i32.const 0) (ref.null func) (i32.const 0))",
    "(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 0))",
    "(memory.copy (i32.const 0) (i32.const 0) (i32.const 0))",
    "(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))",
    "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))",
    "(data.drop $d)",
    "(elem.drop $e)",
    "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0))",
    "(drop (ref.func $f0))",
    "(call_indirect $t (type $empty) (i32.const 0))",
    "(call $empty)",
    "(global.set $g (i32.add (global.get $g) (i32.const 1)))",
    "(global.set $g (i32.div_s (global.get $g) (i32.const 3)))",
    "(global.set $g (i32.rem_u (global.get $g) (i32.load (i32.const 4))))",
    "(i32.store (i32.const 0) (i32.load (i32.const 4)))",
    "(i64.store offset=100000 (global.get $g) (i64.load (global.get $g)))",
    "(i64.store (i32.const 8) (i64.mul (i64.load (i32.const 16)) (i64.const 77)))",
    "(i64.store (i32.const 8) (i64.popcnt (i64.load (i32.const 16))))",
    "(i64.store (i32.const 8) (i64.rotl (i64.load (i32.const 16)) (i64.load (i32.const 24))))",
    "(f64.store (i32.const 8) (f64.mul (f64.load (i32.const 16)) (f64.load (i32.const 24))))",
    "(f64.store (i32.const 8) (f64.nearest (f64.load (i32.const 16))))",
    "(f64.store (i32.const 8) (f64.copysign (f64.load (i32.const 16)) (f64.load (i32.const 24))))",
    "(f32.store (i32.const 8) (f32.sqrt (f32.load (i32.const 16))))",
    "(f32.store (i32.const 8) (f32.min (f32.load (i32.const 16)) (f32.load (i32.const 24))))",
    "(i64.store (i32.const 8) (i64.trunc_f64_u (f64.load (i32.const 16))))",
    "(i32.store (i32.const 8) (i32.trunc_sat_f32_s (f32.load (i32.const 16))))",
    "(f64.store (i32.const 8) (f64.convert_i64_u (i64.load (i32.const 16))))",
    "(v128.store (i32.const 8) (f64x2.mul (v128.load (i32.const 16)) (v128.load (i32.const 32))))",
    "(v128.store (i32.const 8) (f32x4.nearest (v128.load (i32.const 16))))",
    "(v128.store (i32.const 8) (i64x2.mul (v128.load (i32.const 16)) (v128.load (i32.const 32))))",
    "(v128.store (i32.const 8) (i8x16.shuffle 0 17 2 19 4 21 6 23 8 25 10 27 12 29 14 31 (v128.load (i32.const 16)) (v128.load (i32.const 32))))",
    "(v128.store (i32.const 8) (i8x16.popcnt (v128.load (i32.const 16))))",
    "(v128.store (i32.const 8) (i32x4.trunc_sat_f64x2_u_zero (v128.load (i32.const 16))))",
    "(v128.store (i32.const 8) (i8x16.shl (v128.load (i32.const 16)) (i32.load (i32.const 4))))",
];

const KINDS: [Kind; 11] = [
    Kind::Block,
    Kind::Loop,
    Kind::If,
    Kind::Branch,
    Kind::BranchIf,
    Kind::BranchTable,
    Kind::Call,
    Kind::CallIndirect,
    Kind::Join,
    Kind::JoinLoop,
    Kind::Reads,
];

const TYPES: [&str; 4] = ["i32", "i64", "f64", "v128"];

impl Candidate {
    /// Nothing but a function.
    pub(crate) fn empty() -> Self {
        Self {
            functions: 1,
            params: 0,
            results: 0,
            ty: "i32",
            locals: 0,
            parts: Vec::new(),
            instances: 1,
            passive: 0,
            active: 0,
            items: 0,
            globals: 0,
            types: 0,
            exports: 0,
        }
    }

    /// A body of one operator, so many times.
    pub(crate) fn of_operator(operator: &'static str, count: u64) -> Self {
        let part = Part { kind: Kind::Operator(operator), count, values: 0, nested: false };
        Self { parts: vec![part], ..Self::empty() }
    }

    pub(crate) fn random(random: &mut Random) -> Self {
        let mut candidate = Self::empty();
        for _ in 0..=random.below(12) {
            candidate.change(random);
        }
        candidate
    }

    /// Another one, a step or a few from this one.
    pub(crate) fn mutated(&self, random: &mut Random) -> Self {
        let mut candidate = self.clone();
        for _ in 0..=random.below(3) {
            candidate.change(random);
        }
        candidate
    }

    fn change(&mut self, random: &mut Random) {
        let place = usize::try_from(random.below(self.parts.len() as u64)).unwrap_or(0);
        match random.below(20) {
            0 => self.functions = 1 + random.size(9_000),
            1 => self.params = random.size(128),
            2 => self.results = random.size(128),
            3 => self.ty = random.of(&TYPES),
            4 => self.locals = random.size(5_000),
            5 => self.instances = 1 + random.size(62),
            6 => self.passive = random.size(39_000),
            7 => self.active = random.size(39_000),
            8 => self.items = random.size(30_000),
            9 => self.globals = random.size(9_000),
            10 => self.types = random.size(9_000),
            11 => self.exports = random.size(30_000),
            12 if !self.parts.is_empty() => drop(self.parts.remove(place)),
            13 | 14 => {
                if let Some(part) = self.parts.get_mut(place) {
                    part.count = (part.count * (1 + random.below(8)) / 4).clamp(1, 200_000);
                }
            }
            15 => {
                if let Some(part) = self.parts.get_mut(place) {
                    part.values = random.size(128);
                }
            }
            16 => self.functions = (self.functions * (1 + random.below(8)) / 4).clamp(1, 9_000),
            _ if self.parts.len() < 6 => {
                let kind = match random.below(3) {
                    0 => Kind::Operator(random.of(&OPERATORS)),
                    _ => random.of(&KINDS),
                };
                let (count, values) = (1 + random.size(20_000), random.size(128));
                self.parts.push(Part { kind, count, values, nested: random.below(3) == 0 });
            }
            _ => {}
        }
    }

    /// The component as text; nothing where that is far longer than a component that passes has.
    pub(crate) fn text(&self) -> Option<String> {
        let body = self.body()?;
        if self.functions.saturating_mul(body.len() as u64 + 4 * self.locals) > MAX_TEXT_BYTES {
            return None;
        }
        let Self { functions, params, results, ty, locals, .. } = *self;
        let mut text = String::from("(component (core module $m (type $empty (func))");
        for _ in 0..self.types {
            text.push_str("(type (func (param i64 i64)))");
        }
        let values = |n: u64| format!("{ty} ").repeat(usize::try_from(n).unwrap_or(0));
        let _ = write!(
            text,
            "(type $body (func (param {}) (result {})))",
            values(params),
            values(results)
        );
        let carried: Vec<u64> = self.parts.iter().map(|part| part.values).collect();
        for (number, n) in carried.iter().enumerate() {
            let v = values(*n);
            let _ = write!(
                text,
                "(type $p{number} (func (param {v}) (result {v})))(type $r{number} (func (result {v})))"
            );
        }
        text.push_str("(memory 1) (table $t 1 funcref) (global $g (mut i32) (i32.const 7)) (data $d \"\") (func $empty)");
        for (number, _) in carried.iter().enumerate() {
            let _ = write!(text, "(func $c{number} (type $p{number}) unreachable)");
        }
        for number in 0..functions {
            let _ =
                write!(text, "(func $f{number} (type $body) (local {}) {body})", values(locals));
        }
        text.push_str("(elem $e func $f0)");
        let _ =
            write!(text, "(elem func {})", "$f0 ".repeat(usize::try_from(self.items).unwrap_or(0)));
        for _ in 0..self.passive {
            text.push_str("(data \"\")");
        }
        for _ in 0..self.active {
            text.push_str("(data (i32.const 0) \"x\")");
        }
        for _ in 0..self.globals {
            text.push_str("(global (mut i32) (i32.const 0))");
        }
        for number in 0..self.exports {
            let _ = write!(text, "(export \"{number}\" (func $f0))");
        }
        text.push(')');
        for _ in 0..self.instances {
            text.push_str("(core instance (instantiate $m))");
        }
        text.push(')');
        Some(text)
    }

    fn body(&self) -> Option<String> {
        let mut body = String::new();
        for (number, part) in self.parts.iter().enumerate() {
            if part.count.saturating_mul(64 + 8 * part.values) > MAX_TEXT_BYTES {
                return None;
            }
            self.part(&mut body, number, *part);
        }
        body.push_str(&self.constants(self.results));
        Some(body)
    }

    fn constants(&self, count: u64) -> String {
        let one = if self.ty == "v128" {
            "(v128.const i64x2 1 2)".to_owned()
        } else {
            format!("({}.const 1)", self.ty)
        };
        one.repeat(usize::try_from(count).unwrap_or(0))
    }

    fn part(&self, body: &mut String, number: usize, part: Part) {
        let Part { kind, count, values, nested } = part;
        let (count, drops) = (
            usize::try_from(count).unwrap_or(0),
            "drop ".repeat(usize::try_from(values).unwrap_or(0)),
        );
        let push = self.constants(values);
        let variables = self.params + self.locals;
        let local = |n: usize| if variables == 0 { 0 } else { n as u64 % variables };
        let get = |n: usize| {
            if variables == 0 || self.ty != "i32" {
                "(global.get $g)".to_owned()
            } else {
                format!("(local.get {})", local(n))
            }
        };
        let set = |n: usize, m: usize| {
            if variables == 0 {
                String::new()
            } else {
                format!("(local.set {} (local.get {}))", local(n), local(m))
            }
        };
        match kind {
            Kind::Operator(operator) => body.push_str(&operator.repeat(count)),
            Kind::Block | Kind::Loop | Kind::If => {
                let (open, close) = match kind {
                    Kind::Block => (format!("block (type $p{number}) "), "end "),
                    Kind::Loop => (format!("loop (type $p{number}) "), "end "),
                    _ => (format!("global.get $g if (type $p{number}) "), "else end "),
                };
                body.push_str(&push);
                if nested && kind != Kind::Loop {
                    let levels = count.min(1_900);
                    body.push_str(&open.repeat(levels));
                    body.push_str(&close.repeat(levels));
                } else {
                    body.push_str(&format!("{open}{close}").repeat(count));
                }
                body.push_str(&drops);
            }
            Kind::Branch => {
                let one = format!("(block (type $r{number}) {push} (br 0)) {drops}");
                body.push_str(&one.repeat(count));
            }
            Kind::BranchIf => {
                let _ = write!(body, "(block (type $r{number}) {push} ");
                body.push_str(&"(br_if 0 (global.get $g)) ".repeat(count));
                let _ = write!(body, ") {drops}");
            }
            Kind::BranchTable => {
                let levels = count.min(1_900);
                body.push_str(&format!("(block (type $r{number}) ").repeat(levels));
                body.push_str(&push);
                let targets: String =
                    (0..count.min(19_000)).map(|n| format!("{} ", n % levels)).collect();
                let _ = write!(body, "(br_table {targets} (global.get $g))");
                body.push_str(&format!(") {drops} {push}").repeat(levels - 1));
                let _ = write!(body, ") {drops}");
            }
            Kind::Call => {
                body.push_str(&push);
                body.push_str(&format!("(call $c{number}) ").repeat(count));
                body.push_str(&drops);
            }
            Kind::CallIndirect => {
                body.push_str(&push);
                body.push_str(
                    &format!("(call_indirect $t (type $p{number}) (i32.const 0)) ").repeat(count),
                );
                body.push_str(&drops);
            }
            Kind::Join => {
                for n in 0..count {
                    let _ = write!(body, "(if {} (then {}))", get(n), set(n * 7, n * 3));
                }
            }
            Kind::JoinLoop => {
                for n in 0..count.min(1_400) {
                    let _ = write!(body, "(loop {} (br_if 0 {}))", set(n * 7, n * 3), get(n));
                }
            }
            Kind::Reads => {
                for n in 0..variables {
                    let _ = write!(body, "(drop (local.get {n}))");
                }
            }
        }
    }
}
