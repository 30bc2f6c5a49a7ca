//! Line charts: SVG for pages, and PNG for what cannot show SVG.

use std::sync::LazyLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

use crate::failure::{Failure, Outcome};

/// Of a chart without its legend, which is below.
const SIZE: (u32, u32) = (760, 380);
/// Of one line of the legend, in pixels.
const LEGEND_LINE: u32 = 18;
/// Of each line of a chart; readable on white and on black.
const COLOURS: [RGBColor; 12] = [
    RGBColor(0x1f, 0x83, 0xc9),
    RGBColor(0xd9, 0x6b, 0x12),
    RGBColor(0x2c, 0x9e, 0x4b),
    RGBColor(0xc2, 0x4a, 0x8c),
    RGBColor(0x8a, 0x6f, 0xd8),
    RGBColor(0x9a, 0x8b, 0x1e),
    RGBColor(0x14, 0xa3, 0xa3),
    RGBColor(0xd6, 0x45, 0x45),
    RGBColor(0x9c, 0x6b, 0x4e),
    RGBColor(0x8c, 0x8c, 0x8c),
    RGBColor(0x7b, 0xa4, 0x28),
    RGBColor(0xe3, 0x77, 0xc2),
];
/// Charts with more lines cannot be read.
const MOST_LINES: usize = COLOURS.len();
/// Lines of more points are drawn without marks.
const MOST_MARKS: usize = 20;
/// PNG has no fonts of the system; an SVG's text is only measured with this one.
const FONT: &str = "sans-serif";
static FONT_IS_REGISTERED: LazyLock<bool> =
    LazyLock::new(|| register_font(FONT, FontStyle::Normal, include_bytes!("font/Roboto-Regular.ttf")).is_ok());

pub type Points = Vec<(f64, f64)>;
/// A line of a chart: its name and its points.
pub type Line = (String, Points);

/// Lines over numbers.
pub struct Chart {
    title: String,
    /// What the axes count.
    axes: [&'static str; 2],
    lines: Vec<Line>,
}

impl Chart {
    pub fn new(title: &str, axes: [&'static str; 2], mut lines: Vec<Line>) -> Self {
        let all = lines.len();
        lines.truncate(MOST_LINES);
        let title = if all > lines.len() { format!("{title} (the first {MOST_LINES} of {all})") } else { title.into() };
        Self { title, axes, lines }
    }

    fn size(&self) -> (u32, u32) {
        (SIZE.0, SIZE.1 + LEGEND_LINE * self.lines.len() as u32 + 10)
    }

    /// Text takes the colour of the page, or of the system's theme where the chart is a file.
    pub fn svg(&self) -> Outcome<String> {
        let mut svg = String::new();
        self.draw(&SVGBackend::with_string(&mut svg, self.size()).into_drawing_area())?;
        let style =
            "<style>.kinglet-chart{color:#222}@media(prefers-color-scheme:dark){.kinglet-chart{color:#ddd}}</style>";
        let svg = svg.replace("#000000", "currentColor").replacen("<svg ", "<svg class=\"kinglet-chart\" ", 1);
        Ok(svg.replacen(">\n", &format!(">\n{style}\n"), 1))
    }

    /// Black on white.
    pub fn png(&self) -> Outcome<Vec<u8>> {
        let (width, height) = self.size();
        let mut pixels = vec![255; 3 * width as usize * height as usize];
        self.draw(&BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area())?;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        let write = |encoder: png::Encoder<_>| encoder.write_header()?.write_image_data(&pixels);
        write(encoder).map_err(|e| self.failed(&e))?;
        Ok(file)
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::new(format!("chart {:?}: {why}", self.title))
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Outcome<()> {
        if !*FONT_IS_REGISTERED {
            return Err(self.failed(&"its font cannot be read"));
        }
        self.draw_on(area).map_err(|e| self.failed(&e))
    }

    fn draw_on<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let (low, high) = points().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p.0), h.max(p.0)));
        let top = points().fold(0.0, |top, p| p.1.max(top));
        let high = if high > low { high } else { low + 1.0 };
        let top = if top > 0.0 { 1.05 * top } else { 1.0 };
        let (above, legend) = area.split_vertically(SIZE.1);
        let mut chart = ChartBuilder::on(&above)
            .caption(&self.title, (FONT, 20))
            .margin(10)
            .margin_right(20)
            .x_label_area_size(44)
            .y_label_area_size(80)
            .build_cartesian_2d(low..high, 0.0..top)?;
        let [x, y] = self.axes;
        let whole = matches!(x, "batch" | "run");
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 13))
            .axis_desc_style((FONT, 14))
            .x_label_formatter(&|&value| if whole && value.fract() != 0.0 { String::new() } else { label(value) })
            .y_label_formatter(&|&value| label(value))
            .x_desc(x)
            .y_desc(y)
            .draw()?;
        for (i, (name, points)) in self.lines.iter().enumerate() {
            let line = COLOURS[i].stroke_width(2);
            let marks = if points.len() > MOST_MARKS { 0 } else { 3 };
            chart.draw_series(LineSeries::new(points.iter().copied(), line).point_size(marks))?;
            let at = LEGEND_LINE as i32 * i as i32;
            legend.draw(&PathElement::new(vec![(90, at + 6), (108, at + 6)], line))?;
            legend.draw(&Text::new(name.as_str(), (116, at), (FONT, 14)))?;
        }
        area.present()
    }
}

/// A number beside an axis, without the digits that arithmetic adds.
fn label(value: f64) -> String {
    ((value * 1e6).round() / 1e6).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels of a PNG that are darker than any line, in the rows of the title and below them.
    fn dark(title: &str) -> [usize; 2] {
        let lines = vec![("one".to_string(), vec![(1.0, 1.0), (8.0, 4.0)]), ("two".into(), vec![(1.0, 2.0)])];
        let png = Chart::new(title, ["batch", "times"], lines).png().ok().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), (SIZE.0, SIZE.1 + 46));
        let rows = pixels.chunks(frame.line_size);
        let rows: Vec<usize> = rows.map(|row| row.chunks(3).filter(|p| p.iter().all(|c| *c < 0x40)).count()).collect();
        let (top, rest) = rows.split_at(30);
        [top.iter().sum(), rest.iter().sum()]
    }

    #[test]
    fn a_png_has_text() {
        let ([title, rest], [without, same]) = (dark("Speed of inference"), dark(" "));
        assert!(title > 100 && without == 0, "{title} {without}");
        assert!(rest > 300 && rest == same, "{rest} {same}");
    }
}
