//! The end of a certificate's validity, out of its DER: the one field that the TLS library does not tell.
//!
//! Certificate, TBSCertificate and Validity as in RFC 5280, 4.1; DER lengths as in X.690, 8.1.3.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// A moment, to the second.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Since 1970, UTC.
    pub(super) seconds: i64,
    /// As `2030-01-31`.
    pub(super) date: String,
}

/// When a certificate is no longer valid; None for what is no certificate.
pub(super) fn not_after(certificate: &[u8]) -> Option<Moment> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (fields, _) = element(certificate, SEQUENCE)?;
    // The version is left out where it is 1.
    let fields = element(fields, VERSION).map_or(fields, |(_, rest)| rest);
    let (_serial_number, fields) = element(fields, INTEGER)?;
    let (_signature, fields) = element(fields, SEQUENCE)?;
    let (_issuer, fields) = element(fields, SEQUENCE)?;
    let (validity, _) = element(fields, SEQUENCE)?;
    let not_before = *validity.first()?;
    let (_, validity) = element(validity, not_before)?;
    match *validity.first()? {
        UTC_TIME => {
            let text = std::str::from_utf8(element(validity, UTC_TIME)?.0).ok()?;
            let century = if text.get(..2)? < "50" { "20" } else { "19" };
            moment(&format!("{century}{text}"))
        }
        GENERALIZED_TIME => {
            moment(std::str::from_utf8(element(validity, GENERALIZED_TIME)?.0).ok()?)
        }
        _ => None,
    }
}

/// The content of the element in front, which must have this tag, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = input.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = match usize::from(*length) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (digits, rest) = rest.split_at_checked(long - 0x80)?;
            if digits.len() > 4 {
                return None;
            }
            let append = |length: usize, digit: &u8| length << 8 | usize::from(*digit);
            (digits.iter().fold(0, append), rest)
        }
    };
    rest.split_at_checked(length)
}

/// `YYYYMMDDHHMMSSZ`.
fn moment(text: &str) -> Option<Moment> {
    let digits = text.strip_suffix('Z')?;
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits[from..to].parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    Some(Moment {
        seconds: days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second,
        date: format!("{year:04}-{month:02}-{day:02}"),
    })
}

/// Days from 1970-01-01 in the Gregorian calendar. Years begin with March, so that the leap day is the last of them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Five months from March have 153 days, as have the next five.
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // 0000-03-01 is 719 468 days before 1970.
    365 * year + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_from_1970() {
        let cases = [
            ("19700101000000Z", 0),
            ("20000229123456Z", 951_827_696),
            ("20380119031408Z", 2_147_483_648),
            ("99991231235959Z", 253_402_300_799),
        ];
        for (text, seconds) in cases {
            assert_eq!(
                moment(text).map(|moment| moment.seconds),
                Some(seconds),
                "{text}"
            );
        }
        assert_eq!(moment("2038011903140Z"), None);
    }

    #[test]
    fn certificates_say_when_they_end() {
        for (year, expected) in [
            (2049, "2049-05-06"),
            (2051, "2051-05-06"),
            (1975, "1975-05-06"),
        ] {
            let mut params =
                rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
            params.not_before = rcgen::date_time_ymd(1974, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, 5, 6);
            let key = rcgen::KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("a certificate");
            let end = not_after(certificate.der()).expect("a certificate");
            assert_eq!(end.date, expected);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let junk: [&[u8]; 5] = [
            b"",
            b"\x30",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x88",
            b"\x30\x02\x30\x00",
        ];
        for bytes in junk {
            assert_eq!(not_after(bytes), None, "{bytes:?}");
        }
    }
}
