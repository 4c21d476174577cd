//! Formats times for people and for AWS signatures.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999, the last that HTTP's dates have.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// `YYYYMMDDTHHMMSSZ`.
pub(super) fn basic(time: SystemTime) -> String {
    let [year, month, day, clock] = parts(time);
    format!("{year}{month}{day}T{}Z", clock.replace(':', ""))
}

/// `YYYY-MM-DD HH:MM UTC`, for people.
pub(crate) fn readable(time: SystemTime) -> String {
    let [year, month, day, clock] = parts(time);
    let minute = clock.rsplit_once(':').map_or(clock.as_str(), |(minute, _)| minute);
    format!("{year}-{month}-{day} {minute} UTC")
}

/// Year, month, day and `HH:MM:SS`, by the library that writes HTTP's dates: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parts(time: SystemTime) -> [String; 4] {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let date = httpdate::fmt_http_date(time.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST));
    let mut words = date.split(' ').skip(1);
    let [day, month, year, clock] = [(); 4].map(|()| words.next().unwrap_or_default());
    let month = MONTHS.find(month).map_or(0, |at| at / 3 + 1);
    [year.to_owned(), format!("{month:02}"), day.to_owned(), clock.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_digits() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_440_938_160, "2015-08-30T12:36:00Z"),
            (1_767_323_045, "2026-01-02T03:04:05Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (u64::MAX / 4, "9999-12-31T23:59:59Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(basic(time), text.replace(['-', ':'], ""));
            assert_eq!(readable(time), format!("{} {} UTC", &text[..10], &text[11..16]));
        }
    }
}
