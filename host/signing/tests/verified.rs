//! Signatures and public keys as devices and services give them: accepted in each form, and in no other.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use countersign_signing::{Algorithm, PublicKey, Signer, SigningKey};

const BOTH: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

/// `ECDSA-Sig-Value` of a signature of 64 bytes.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let digits = &number[zeros..];
        let padded = if digits[0] >= 0x80 { [&[0][..], digits].concat() } else { digits.to_vec() };
        [&[2, u8::try_from(padded.len()).unwrap()][..], &padded].concat()
    };
    let numbers = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [&[0x30, u8::try_from(numbers.len()).unwrap()][..], &numbers].concat()
}

#[test]
fn a_signature_of_either_form_becomes_that_of_a_token() {
    let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    // Enough that numbers with zeros before them, and with a first bit, are among them.
    for number in 0..2000_u32 {
        let input = number.to_be_bytes();
        let signature = key.sign(&input).unwrap();
        let public = key.public();
        assert_eq!(public.verified(&input, &signature), Some(signature.clone()));
        let given = der(&signature);
        assert_eq!(public.verified(&input, &given), Some(signature), "{given:02x?}");
    }
}

#[test]
fn what_is_no_signature_of_the_key_over_the_input_is_none() {
    for algorithm in BOTH {
        let (key, _) = SigningKey::generate(algorithm).unwrap();
        let (other, _) = SigningKey::generate(algorithm).unwrap();
        let public = key.public();
        let good = key.sign(b"input").unwrap();
        assert_eq!(public.verified(b"input", &good), Some(good.clone()));
        assert_eq!(public.verified(b"other", &good), None);
        assert_eq!(public.verified(b"input", &other.sign(b"input").unwrap()), None);
        let mut forms = vec![good.clone()];
        if algorithm == Algorithm::Es256 {
            forms.push(der(&good));
        }
        for form in forms {
            for at in 0..form.len() {
                assert_eq!(public.verified(b"input", &form[..at]), None, "{algorithm:?} {at}");
                let mut changed = form.clone();
                changed[at] ^= 1;
                assert_eq!(public.verified(b"input", &changed), None, "{algorithm:?} {at}");
            }
            let longer = [&form[..], &[0]].concat();
            assert_eq!(public.verified(b"input", &longer), None, "{algorithm:?}");
        }
        for garbage in [vec![], vec![0; 64], vec![0; 256], vec![0xff; 72], vec![0x30, 0x80, 0, 0]] {
            assert_eq!(public.verified(b"input", &garbage), None, "{algorithm:?}");
        }
    }
}

#[test]
fn a_public_key_in_der_has_one_form() {
    for algorithm in BOTH {
        let (key, _) = SigningKey::generate(algorithm).unwrap();
        let der = key.public().to_pkix_der().unwrap();
        let read = PublicKey::from_pkix_der(&der).unwrap();
        assert_eq!((read.kid(), read.algorithm()), (key.public().kid(), algorithm));
        assert!(PublicKey::from_pkix_der(&[&der[..], &[0]].concat()).is_err());
        for at in 0..der.len() {
            assert!(PublicKey::from_pkix_der(&der[..at]).is_err(), "{algorithm:?} {at}");
        }
    }
    for garbage in [&b""[..], b"\x30\x84\xff\xff\xff\xff", b"-----BEGIN PUBLIC KEY-----"] {
        assert!(PublicKey::from_pkix_der(garbage).is_err());
    }
}
