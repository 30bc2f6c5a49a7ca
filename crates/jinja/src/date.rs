//! `strftime_now`, in UTC: it reads no time zone file and no environment variable of the host process.

use crate::budget::{Budget, Text};
use crate::error::{Result, fail};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
#[rustfmt::skip]
const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
];

/// Formats the time `seconds` after 1970-01-01 00:00.
pub(crate) fn strftime(format: &str, seconds: i64, budget: &mut Budget) -> Result<String> {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let twelve = (hour + 11) % 12 + 1;
    let weekday = (days + 4).rem_euclid(7);
    let day_of_year = days - days_before(year, 1, 1) + 1;
    let (day_name, month_name) = (DAYS[weekday as usize], MONTHS[month as usize - 1]);
    let mut text = Text::new(budget);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push_char(c)?;
            continue;
        }
        let mut kind = chars.next();
        // glibc's `%-d` is the day without a leading zero.
        let bare = kind == Some('-');
        if bare {
            kind = chars.next();
        }
        let (number, width) = match kind {
            Some('Y') => (year, 1),
            Some('m') => (month, 2),
            Some('d') => (day, 2),
            Some('H') => (hour, 2),
            Some('I') => (twelve, 2),
            Some('M') => (minute, 2),
            Some('S') => (second, 2),
            Some('j') => (day_of_year, 3),
            Some('y') => (year.rem_euclid(100), 2),
            Some('f') => (0, 6),
            Some('w') => (weekday, 1),
            Some('u') => ((weekday + 6) % 7 + 1, 1),
            Some('U') => ((day_of_year + 6 - weekday) / 7, 2),
            Some('W') => ((day_of_year + 6 - (weekday + 6) % 7) / 7, 2),
            Some('s') => (seconds, 1),
            Some(other) => {
                match other {
                    'A' => text.push(day_name)?,
                    'a' => text.push(&day_name[..3])?,
                    'B' => text.push(month_name)?,
                    'b' | 'h' => text.push(&month_name[..3])?,
                    'p' => text.push(if hour < 12 { "AM" } else { "PM" })?,
                    'e' => text.format(format_args!("{day:2}"))?,
                    'F' => text.format(format_args!("{year}-{month:02}-{day:02}"))?,
                    'D' | 'x' => text.format(format_args!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)))?,
                    'T' | 'X' => text.format(format_args!("{hour:02}:{minute:02}:{second:02}"))?,
                    'R' => text.format(format_args!("{hour:02}:{minute:02}"))?,
                    'c' => text.format(format_args!(
                        "{} {} {day:2} {hour:02}:{minute:02}:{second:02} {year}",
                        &day_name[..3],
                        &month_name[..3]
                    ))?,
                    // transformers formats a time without a time zone, whose name and offset are empty.
                    'Z' | 'z' => {}
                    'n' => text.push("\n")?,
                    't' => text.push("\t")?,
                    '%' => text.push("%")?,
                    other => return fail(format!("unsupported date format `%{}`", other.escape_debug())),
                }
                continue;
            }
            None => return fail("the date format ends in `%`"),
        };
        let width = if bare { 1 } else { width };
        text.format(format_args!("{number:0width$}"))?;
    }
    Ok(text.finish())
}

/// Year, month and day of the day that is `days` days after 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // 400 years have 146,097 days, so this estimate is off by at most one year.
    let mut year = 1970 + (days * 400).div_euclid(146_097);
    while days_before(year, 1, 1) > days {
        year -= 1;
    }
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|&month| days_before(year, month, 1) <= days).unwrap_or(1);
    (year, month, days - days_before(year, month, 1) + 1)
}

/// The number of days from 1970-01-01 to a date.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before_month = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][(month - 1) as usize];
    let y = year - 1;
    let leap_days = y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) - 477;
    (year - 1970) * 365 + leap_days + before_month + i64::from(leap && month > 2) + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Limits;

    fn at(format: &str, seconds: i64) -> String {
        strftime(format, seconds, &mut Budget::new(Limits::default(), None)).unwrap()
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(at("%d %B %Y, %A, day %j", 0), "01 January 1970, Thursday, day 001");
        assert_eq!(at("%Y-%m-%d %H:%M:%S", 951_782_399), "2000-02-28 23:59:59");
        assert_eq!(at("%F %a", 951_782_400), "2000-02-29 Tue");
        assert_eq!(at("%d %b %Y", 4_107_542_400), "01 Mar 2100");
        assert_eq!(at("%F %T", -1), "1969-12-31 23:59:59");
        assert_eq!(at("%-d %e %I %p %y %%", 1_700_000_000 - 1_700_000_000 % 86_400 - 86_400 * 9), "5  5 12 AM 23 %");
    }

    #[test]
    fn every_day_of_a_thousand_years_follows_the_one_before() {
        let mut before = civil(-200_000);
        for day in -199_999..200_000 {
            let now = civil(day);
            assert!(
                now == (before.0, before.1, before.2 + 1)
                    || now == (before.0, before.1 + 1, 1) && before.2 >= 28
                    || now == (before.0 + 1, 1, 1) && (before.1, before.2) == (12, 31),
                "{before:?} {now:?}"
            );
            before = now;
        }
    }

    #[test]
    fn unknown_formats_are_errors() {
        assert!(strftime("%Q", 0, &mut Budget::new(Limits::default(), None)).is_err());
        assert!(strftime("%", 0, &mut Budget::new(Limits::default(), None)).is_err());
    }
}
