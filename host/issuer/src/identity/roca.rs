//! The fingerprint of RSA keys that Infineon's RSALib made (ROCA, CVE-2017-15361): whoever has such a public key can
//! compute the private one.
//!
//! Nemec et al., "The Return of Coppersmith's Attack" (2017), section 3: the primes of such a key are
//! `k · M + (65537^a mod M)`, where `M` is the product of the first primes, so both are powers of 65537 modulo each of
//! these, and so is their product. Of other moduli fewer than one in 100 million is.

/// The primes of the published fingerprint: `M` has all of them, whatever the length of the key. 2 says nothing about
/// an odd number.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// The generator of all primes of such keys.
const GENERATOR: u32 = 65_537;

/// True when a modulus, in big-endian bytes, has the fingerprint.
pub(super) fn has_fingerprint(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|prime| {
        let residue =
            modulus.iter().fold(0, |residue, byte| (residue * 256 + u32::from(*byte)) % prime);
        is_power(residue, *prime)
    })
}

/// True when a residue is a power of the generator modulo a prime.
fn is_power(residue: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == residue {
            return true;
        }
        power = power * (GENERATOR % prime) % prime;
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use countersign_signing::{Algorithm, SigningKey};

    use super::*;

    /// The product of two numbers, in big-endian bytes.
    fn product(left: &[u8], right: &[u8]) -> Vec<u8> {
        let mut digits = vec![0_u32; left.len() + right.len()];
        for (i, l) in left.iter().rev().enumerate() {
            let mut carry = 0;
            for (j, r) in right.iter().rev().enumerate() {
                let sum = digits[i + j] + u32::from(*l) * u32::from(*r) + carry;
                (digits[i + j], carry) = (sum & 0xff, sum >> 8);
            }
            digits[i + right.len()] += carry;
        }
        digits.iter().rev().map(|digit| u8::try_from(*digit).unwrap()).collect()
    }

    /// The sum of a number and a shorter one.
    fn sum(left: &[u8], right: &[u8]) -> Vec<u8> {
        let mut sum = vec![0; left.len() + 1 - right.len()];
        sum.extend_from_slice(right);
        let mut carry = 0;
        for (digit, left) in sum.iter_mut().rev().zip(left.iter().rev().chain([&0])) {
            let value = u16::from(*digit) + u16::from(*left) + carry;
            (*digit, carry) = (value.to_be_bytes()[1], value >> 8);
        }
        sum
    }

    /// `k · M + 65537^a`, which is below `M` for these exponents.
    fn factor(k: &[u8], exponent: usize) -> Vec<u8> {
        let m = PRIMES.iter().fold(vec![2], |m, p| product(&m, &p.to_be_bytes()));
        let power = (0..exponent).fold(vec![1], |power, _| product(&power, &[1, 0, 1]));
        let significant = power.iter().position(|byte| *byte != 0).unwrap();
        sum(&product(k, &m), &power[significant..])
    }

    /// A modulus of 2048 bits of the form that RSALib makes; its factors need not be primes for the fingerprint.
    pub(crate) fn vulnerable_modulus() -> Vec<u8> {
        // M has 220 bits, so that each factor has 1024, of which the highest are set.
        let k = [vec![0x14], vec![0xfd; 100]].concat();
        let n = product(&factor(&k, 12), &factor(&k, 9));
        n.into_iter().skip_while(|byte| *byte == 0).collect()
    }

    #[test]
    fn keys_of_rsalib_are_recognised_and_no_others() {
        let vulnerable = vulnerable_modulus();
        assert_eq!(vulnerable.len(), 256);
        assert!(has_fingerprint(&vulnerable));
        let mut other = vulnerable.clone();
        *other.last_mut().unwrap() ^= 2;
        assert!(!has_fingerprint(&other));
        for _ in 0..2 {
            let (key, _) = SigningKey::generate(Algorithm::Rs256).unwrap();
            let jwk = serde_json::to_value(key.public()).unwrap();
            use base64::Engine as _;
            let n = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap());
            assert!(!has_fingerprint(&n.unwrap()));
        }
    }
}
