//! How figures are shown to people: sizes, counts, times.
//!
//! ```
//! use kilngrad::units;
//!
//! assert_eq!((units::grouped(4810), units::bytes(4810)), ("4,810".into(), "4.7 KiB".into()));
//! ```

use std::time::Duration;

/// `4.7 KiB`, `61.4 MiB`.
///
/// ```
/// assert_eq!(kilngrad::units::bytes(1536), "1.5 KiB");
/// ```
pub fn bytes(count: usize) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// `4,810`.
///
/// ```
/// assert_eq!(kilngrad::units::grouped(1234567), "1,234,567");
/// ```
pub fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `812 flop`, `4.81 Mflop`, `2.00 Gflop`.
///
/// ```
/// assert_eq!(kilngrad::units::flops(4_810_000), "4.81 Mflop");
/// ```
pub fn flops(count: u64) -> String {
    const UNITS: [&str; 5] = ["flop", "kflop", "Mflop", "Gflop", "Tflop"];
    let mut size = count as f64;
    let mut unit = 0;
    // What would be rounded to 1000 is 1 of the next unit.
    while size >= 999.995 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} flop") } else { format!("{size:.2} {}", UNITS[unit]) }
}

/// `812 µs`, `12.3 ms`, `4.2 s`.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(kilngrad::units::time(Duration::from_micros(12_300)), "12.3 ms");
/// ```
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(4810), "4,810");
        assert_eq!(grouped(1234567), "1,234,567");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(62_900), "61.4 KiB");
        assert_eq!(flops(812), "812 flop");
        assert_eq!(flops(999_999), "1.00 Mflop");
        assert_eq!(flops(4_810_000), "4.81 Mflop");
        assert_eq!(time(Duration::from_micros(812)), "812 µs");
        assert_eq!(time(Duration::from_millis(4200)), "4.2 s");
    }
}
