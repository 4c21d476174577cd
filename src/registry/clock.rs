//! Times as clouds write them (RFC 3339, and the basic form of ISO 8601 that AWS signs).

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// `YYYYMMDDTHHMMSSZ`.
pub(super) fn basic(seconds: u64) -> String {
    let [year, month, day, hour, minute, second] = civil(seconds);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// `YYYY-MM-DD HH:MM UTC`, for people.
pub(crate) fn readable(seconds: u64) -> String {
    let [year, month, day, hour, minute, _] = civil(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// Reads `2030-01-01T00:00:00Z`, with or without fractions of a second.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator| text.split(separator).map(str::parse).collect::<Result<Vec<u64>, _>>().ok();
    let date = numbers(date, '-')?;
    let time = numbers(time.split('.').next()?, ':')?;
    let ([year, month, day], [hour, minute, second]) = (date.as_slice(), time.as_slice()) else { return None };
    let is_time = (1970..10_000).contains(year)
        && (1..=12).contains(month)
        && (1..=31).contains(day)
        && *hour < 24
        && *minute < 60
        && *second <= 60;
    is_time.then(|| ((days(*year, *month, *day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01; the year begins in March, so that leap days are at its end.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    days - 719_468
}

/// Year, month, day, hour, minute, second.
fn civil(seconds: u64) -> [u64; 6] {
    let (day, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    [year, month, day, rest / 3600, rest / 60 % 60, rest % 60]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_alike() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_440_938_160, "2015-08-30T12:36:00Z"),
            (1_767_323_045, "2026-01-02T03:04:05Z"),
            (1_893_456_000, "2030-01-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
            assert_eq!(basic(seconds), text.replace(['-', ':'], ""));
        }
        assert_eq!(parse("2030-01-01T00:00:00.123456789Z"), Some(1_893_456_000));
        assert_eq!(readable(1_767_323_045), "2026-01-02 03:04 UTC");
    }

    #[test]
    fn every_day_of_four_centuries_is_its_own() {
        for day in 0..146_097 {
            let [year, month, of_month, ..] = civil(day * 86_400);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "Z",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-13-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2030-01-01T25:00:00Z",
            "99999999999999999999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
