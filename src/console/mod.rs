//! The one way to standard output: the log's lines, tables, and the redaction of secrets.

pub(crate) mod log;
pub(crate) mod redact;

/// A head and rows below it, each column as wide as its widest cell. A row is one line, whatever its cells hold: a function's name
/// comes from the gateway, and must not be able to forge a line of the log.
pub(crate) fn render_table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| log::one_line(cell))).collect();
    let mut widths = head.map(width);
    for row in &rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let lines = std::iter::once(line(&head, &widths)).chain(rows.iter().map(|row| line(row, &widths)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Values with a remark each, which is indented on the next line. As in a table, no value can forge a line of the log.
pub(crate) fn remarks(rows: &[[String; 3]]) -> String {
    let lines = rows.iter().map(|row| {
        let [name, value, remark] = row.each_ref().map(|cell| log::one_line(cell));
        let remark = if remark.is_empty() { remark } else { format!("\n    {remark}") };
        format!("{name}: {value}{remark}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn line<const N: usize>(cells: &[impl AsRef<str>; N], widths: &[usize; N]) -> String {
    let mut text = String::new();
    for (cell, widest) in cells.iter().zip(widths) {
        let cell = cell.as_ref();
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', widest - width(cell) + 2));
    }
    text.truncate(text.trim_end().len());
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remark_is_indented_below_its_value() {
        let rows = [
            ["iss".to_owned(), "https://x\n✔".to_owned(), "fits".to_owned()],
            ["a".to_owned(), "b".to_owned(), String::new()],
        ];
        assert_eq!(remarks(&rows), "iss: https://x\\n✔\n    fits\na: b");
    }

    #[test]
    fn cell_with_a_line_break_stays_on_its_line() {
        let rows = [["a\n✔ deployed\r\u{1b}[2J".to_owned(), "b".to_owned()]];
        assert_eq!(render_table(["A", "B"], &rows), "A                         B\na\\n✔ deployed\\r\\u{1b}[2J  b");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_space() {
        let rows = [["é".to_owned(), "long cell".to_owned()], ["wider".to_owned(), String::new()]];
        assert_eq!(render_table(["A", "B"], &rows), "A      B\né      long cell\nwider");
    }
}
