//! Numbers in the forms of Go's package `fmt`.

use num_bigint::BigInt;

use super::sprintf::Form;

/// Writes a whole number, unless the verb is not for them.
pub(super) fn integer(digits: &str, verb: char, form: &Form, out: &mut String) -> bool {
    let Ok(number) = digits.parse::<BigInt>() else { return false };
    let is_negative = digits.starts_with('-');
    let (base, prefix) = match verb {
        'd' | 'v' => (10, ""),
        'b' => (2, if form.sharp { "0b" } else { "" }),
        'o' => (8, if form.sharp { "0" } else { "" }),
        'O' => (8, "0o"),
        'x' => (16, if form.sharp { "0x" } else { "" }),
        'X' => (16, if form.sharp { "0X" } else { "" }),
        'c' | 'q' | 'U' => return character(digits, verb, form, out),
        _ => return false,
    };
    let mut text = number.magnitude().to_str_radix(base);
    if verb == 'X' {
        text.make_ascii_uppercase();
    }
    if form.precision == Some(0) && text == "0" {
        Form { zero: false, ..form.clone() }.pad("", out);
        return true;
    }
    // With `%v`, a plus sign is for fields of structures.
    let sign = match (is_negative, form.plus && verb != 'v', form.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let least = match (form.precision, form.width) {
        (Some(precision), _) => precision,
        (None, Some(width)) if form.zero => width.saturating_sub(sign.len()),
        _ => 0,
    };
    let zeros = least.saturating_sub(text.len());
    text.insert_str(0, &"0".repeat(zeros));
    Form { zero: false, ..form.clone() }.pad(&format!("{sign}{prefix}{text}"), out);
    true
}

fn character(digits: &str, verb: char, form: &Form, out: &mut String) -> bool {
    let code = digits.parse::<u32>().ok();
    let c = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    let spaced = Form { zero: false, ..form.clone() };
    match verb {
        'c' => form.pad(&c.to_string(), out),
        'q' => spaced
            .pad(&format!("'{}'", if c == '\'' { "\\'".to_owned() } else { c.to_string() }), out),
        _ => {
            let mut text = format!("U+{:04X}", code.unwrap_or_default());
            if form.sharp {
                text.push_str(&format!(" '{c}'"));
            }
            spaced.pad(&text, out);
        }
    }
    true
}

/// Writes another number, unless the verb is not for them.
pub(super) fn float(number: f64, verb: char, form: &Form, out: &mut String) -> bool {
    let text = match verb {
        'e' | 'E' => exponent(number, Some(form.precision.unwrap_or(6))),
        'f' | 'F' => format!("{:.*}", form.precision.unwrap_or(6), number),
        'g' | 'G' | 'v' => shortest(number, form.precision),
        _ => return false,
    };
    let mut text = if verb.is_uppercase() { text.to_uppercase() } else { text };
    let sign = match (text.starts_with('-'), form.plus && verb != 'v', form.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    text = text.trim_start_matches('-').to_owned();
    if form.zero {
        let zeros = form.width.unwrap_or(0).saturating_sub(sign.len() + text.len());
        text.insert_str(0, &"0".repeat(zeros));
    }
    Form { zero: false, ..form.clone() }.pad(&format!("{sign}{text}"), out);
    true
}

/// With an exponent of at least two digits.
fn exponent(number: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// As `%g`: with an exponent where that is below -4, or not below the precision.
fn shortest(number: f64, precision: Option<usize>) -> String {
    if number == 0.0 || !number.is_finite() {
        return format!("{number}");
    }
    let significant = precision.map(|precision| precision.max(1));
    let scientific = exponent(number, significant.map(|significant| significant - 1));
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    // Go takes 6 for the shortest form that is the same number.
    let threshold = significant.unwrap_or(6);
    let is_large = usize::try_from(power).is_ok_and(|power| power >= threshold);
    if power < -4 || is_large {
        let mantissa = match precision {
            Some(_) => without_zeros(mantissa),
            None => mantissa.to_owned(),
        };
        return format!(
            "{mantissa}{}",
            scientific.get(scientific.find('e').unwrap_or(scientific.len())..).unwrap_or_default()
        );
    }
    match significant {
        None => format!("{number}"),
        Some(significant) => {
            let decimals = i32::try_from(significant).unwrap_or(i32::MAX).saturating_sub(1 + power);
            without_zeros(&format!("{:.*}", usize::try_from(decimals).unwrap_or(0), number))
        }
    }
}

fn without_zeros(text: &str) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_in_go() {
        let form = |text: &str| {
            let (flags, rest) =
                text.split_at(text.find(|c: char| !"+-# 0".contains(c)).unwrap_or(text.len()));
            let (width, precision) =
                rest.split_once('.').map_or((rest, None), |(w, p)| (w, Some(p)));
            Form {
                minus: flags.contains('-'),
                plus: flags.contains('+'),
                sharp: flags.contains('#'),
                space: flags.contains(' '),
                zero: flags.contains('0') && !flags.contains('-'),
                width: width.parse().ok(),
                precision: precision.map(|precision| precision.parse().unwrap_or(0)),
            }
        };
        for (digits, verb, flags, expected) in [
            ("42", 'd', "", "42"),
            ("42", 'd', "5", "   42"),
            ("42", 'd', "-5", "42   "),
            ("42", 'd', "05", "00042"),
            ("-42", 'd', "05", "-0042"),
            ("42", 'd', "+", "+42"),
            ("42", 'd', ".4", "0042"),
            ("0", 'd', ".0", ""),
            ("255", 'x', "#", "0xff"),
            ("255", 'X', "", "FF"),
            ("8", 'o', "", "10"),
            ("8", 'O', "", "0o10"),
            ("5", 'b', "", "101"),
            ("65", 'c', "", "A"),
            ("65", 'q', "", "'A'"),
            ("65", 'U', "", "U+0041"),
            ("123456789012345678901234567890", 'd', "", "123456789012345678901234567890"),
        ] {
            let mut out = String::new();
            assert!(integer(digits, verb, &form(flags), &mut out));
            assert_eq!(out, expected, "%{flags}{verb} of {digits}");
        }
        for (number, verb, flags, expected) in [
            (2.71293, 'f', "5.2", " 2.71"),
            (2.71293, 'f', "8.3", "   2.713"),
            (2.71293, 'v', "", "2.71293"),
            (3.5, 'e', "", "3.500000e+00"),
            (1.5e21, 'v', "", "1.5e+21"),
            (1_234_567.5, 'v', "", "1.2345675e+06"),
            (0.00001234, 'g', "", "1.234e-05"),
            (2.71293, 'g', ".3", "2.71"),
            (-2.5, 'f', "08.2", "-0002.50"),
        ] {
            let mut out = String::new();
            assert!(float(number, verb, &form(flags), &mut out));
            assert_eq!(out, expected, "%{flags}{verb} of {number}");
        }
    }
}
