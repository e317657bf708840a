//! Aligned columns.

use unicode_width::UnicodeWidthStr;

use crate::screen::Paint;
use crate::text::clean;

/// Between columns.
const GAP: &str = "  ";

/// Rows below a header. Text is aligned by its width on a terminal and coloured afterwards.
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Row>,
}

struct Row {
    cells: Vec<Cell>,
    /// Lines below it.
    notes: Vec<String>,
}

/// A text and its style.
pub struct Cell {
    text: String,
    look: Option<Look>,
}

type Look = Box<dyn Fn(Paint, &str) -> String>;

impl Cell {
    /// With a style that is applied to the text without its padding.
    pub fn painted(text: impl Into<String>, look: impl Fn(Paint, &str) -> String + 'static) -> Self {
        Self { text: clean(&text.into()), look: Some(Box::new(look)) }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: clean(&text.to_string()), look: None }
    }
}

impl Table {
    /// An empty one.
    pub fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.header.len());
        self.rows.push(Row { cells: cells.into(), notes: Vec::new() });
    }

    /// Adds a line below the last row, indented, across all columns.
    pub fn note(&mut self, text: impl Into<String>) {
        self.rows.last_mut().expect("a note is about a row").notes.push(clean(&text.into()));
    }

    /// With a line end after each row. A column that is empty throughout is left out.
    pub fn render(&self, paint: Paint) -> String {
        let used = |column: &usize| self.rows.iter().any(|row| !row.cells[*column].text.is_empty());
        let columns: Vec<usize> = (0..self.header.len()).filter(used).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row.cells[column].text.width());
            cells.chain([self.header[column].width()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = columns.iter().map(|&column| width(column)).collect();
        let mut text = String::new();
        let header = columns.iter().map(|&column| (self.header[column], paint.dim(self.header[column])));
        push_row(&mut text, &widths, header);
        for row in &self.rows {
            let cells = columns.iter().map(|&column| {
                let cell = &row.cells[column];
                let painted = cell.look.as_ref().map_or_else(|| cell.text.clone(), |look| look(paint, &cell.text));
                (cell.text.as_str(), painted)
            });
            push_row(&mut text, &widths, cells);
            text.extend(row.notes.iter().map(|note| format!("{GAP}{}\n", paint.dim(note))));
        }
        text
    }
}

fn push_row<'a>(text: &mut String, widths: &[usize], cells: impl Iterator<Item = (&'a str, String)>) {
    let mut padding = 0;
    for ((plain, painted), width) in cells.zip(widths) {
        if plain.is_empty() {
            padding += width + GAP.len();
            continue;
        }
        text.push_str(&" ".repeat(padding));
        text.push_str(&painted);
        padding = width - plain.width() + GAP.len();
    }
    text.push('\n');
}

/// `text`, filled up to `width`.
pub fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen_and_lines_end_where_text_ends() {
        let mut table = Table::new(["NAME", "EMPTY", "STATE", "NOTE"]);
        table.row(["日本".into(), "".into(), "ok".into(), "".into()]);
        table.row(["b".into(), "".into(), "".into(), "x".into()]);
        assert_eq!(table.render(Paint::PLAIN), "NAME  STATE  NOTE\n日本  ok\nb            x\n");
    }

    #[test]
    fn a_note_below_a_row_does_not_widen_columns() {
        let mut table = Table::new(["A", "B"]);
        table.row(["x".into(), "y".into()]);
        table.note("much longer than the row");
        table.row(["z".into(), "".into()]);
        assert_eq!(table.render(Paint::PLAIN), "A  B\nx  y\n  much longer than the row\nz\n");
    }

    #[test]
    fn control_characters_in_cells_and_notes_are_escaped() {
        let mut table = Table::new(["A"]);
        table.row(["a\x1b[2Jb".into()]);
        table.note("c\rd");
        assert_eq!(table.render(Paint::PLAIN), "A\na\\u{1b}[2Jb\n  c\\rd\n");
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let mut table = Table::new(["A", "B"]);
        table.row([Cell::painted("x", Paint::bold), "y".into()]);
        let shown = table.render(Paint { terminal: true, colour: true });
        assert_eq!(shown, "\x1b[2mA\x1b[0m  \x1b[2mB\x1b[0m\n\x1b[1mx\x1b[0m  y\n");
    }
}
