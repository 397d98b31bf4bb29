//! Plots over time as SVG, to be put into the HTML report as they are.

use super::ReportError;
use plotters::prelude::*;

/// Width and height of a plot; the page scales it.
const SIZE: (u32, u32) = (640, 280);
const FONT: &str = "sans-serif";
const FONT_SIZE: u32 = 17;

/// Colours that people with colour-blindness can tell apart (Okabe and Ito).
pub(super) const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// One line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// Name in the legend.
    pub(super) name: String,
    /// Seconds and values, in the order of time.
    pub(super) points: Vec<(f64, f64)>,
}

/// How values are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0 on.
    Linear,
    /// In powers of ten, for values above 0.
    Logarithmic,
}

/// Draws lines over seconds. Each takes the colour of its place in [`COLOURS`].
pub(super) fn lines(unit: &str, scale: Scale, series: &[Series]) -> Result<String, ReportError> {
    let mut svg = String::new();
    let values = || series.iter().flat_map(|series| series.points.iter());
    let end = values().map(|(second, _)| *second).fold(1.0, f64::max);
    let top = values().map(|(_, value)| *value).fold(0.0, f64::max);
    let drawn = match scale {
        Scale::Linear => draw_linear(
            &mut svg,
            unit,
            series,
            end,
            if top > 0.0 { top * 1.08 } else { 1.0 },
        ),
        Scale::Logarithmic => {
            let least = values()
                .map(|(_, value)| *value)
                .filter(|value| *value > 0.0)
                .fold(f64::MAX, f64::min);
            let (least, top) = if top > 0.0 { (least, top) } else { (0.1, 1.0) };
            draw_logarithmic(
                &mut svg,
                unit,
                series,
                end,
                (power_below(least), power_below(top) * 10.0),
            )
        }
    };
    drawn.map_err(|error| ReportError::Render {
        form: "HTML",
        reason: error.to_string(),
    })?;
    Ok(svg)
}

type DrawResult = Result<(), Box<dyn std::error::Error>>;

fn draw_linear(svg: &mut String, unit: &str, series: &[Series], end: f64, top: f64) -> DrawResult {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = builder(&area).build_cartesian_2d(0.0..end, 0.0..top)?;
    let (x_label, y_label) = (|x: &f64| axis_label(*x), |y: &f64| axis_label(*y));
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.5))
        .label_style((FONT, FONT_SIZE))
        .x_desc("seconds")
        .y_desc(unit)
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label)
        .y_labels(6)
        .draw()?;
    for (line, colour) in series.iter().zip(colours()) {
        chart.draw_series(LineSeries::new(
            line.points.iter().copied(),
            colour.stroke_width(2),
        ))?;
    }
    area.present()?;
    Ok(())
}

fn draw_logarithmic(
    svg: &mut String,
    unit: &str,
    series: &[Series],
    end: f64,
    (low, high): (f64, f64),
) -> DrawResult {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = builder(&area).build_cartesian_2d(0.0..end, (low..high).log_scale())?;
    let (x_label, y_label) = (|x: &f64| axis_label(*x), |y: &f64| axis_label(*y));
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.5))
        .label_style((FONT, FONT_SIZE))
        .x_desc("seconds")
        .y_desc(unit)
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label)
        .y_labels(6)
        .draw()?;
    for (line, colour) in series.iter().zip(colours()) {
        let points = line.points.iter().copied().filter(|(_, value)| *value > 0.0);
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    }
    area.present()?;
    Ok(())
}

fn builder<'a, 'b>(
    area: &'a DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder
        .margin(10)
        .margin_right(20)
        .x_label_area_size(44)
        .y_label_area_size(64);
    builder
}

fn colours() -> impl Iterator<Item = RGBColor> {
    COLOURS.iter().cycle().map(|text| {
        let part = |range| u8::from_str_radix(text.get(range).unwrap_or("0"), 16).unwrap_or(0);
        RGBColor(part(1..3), part(3..5), part(5..7))
    })
}

/// The power of ten at or below a value above 0.
fn power_below(value: f64) -> f64 {
    10f64.powf(value.log10().floor())
}

fn axis_label(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{}k", super::format::plain((v / 100.0).round() / 10.0)),
        v if v >= 10.0 => format!("{v:.0}"),
        v => super::format::plain((v * 100.0).round() / 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(f64, f64)]) -> [Series; 1] {
        [Series {
            name: "one".into(),
            points: points.to_vec(),
        }]
    }

    #[test]
    fn lines_are_drawn_in_their_colour_on_both_scales() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let svg = lines("ms", scale, &series(&[(0.0, 1.0), (1.0, 200.0)])).unwrap();
            assert!(
                svg.starts_with("<svg") && svg.to_lowercase().contains(COLOURS[0]),
                "{svg}"
            );
        }
    }

    #[test]
    fn a_plot_of_nothing_is_empty_axes() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            for points in [&[][..], &[(0.0, 0.0)], &[(0.0, 0.0), (1.0, 0.0)]] {
                assert!(lines("ms", scale, &series(points)).unwrap().contains("seconds"));
            }
        }
    }

    #[test]
    fn text_of_a_plot_is_escaped() {
        assert!(
            !lines("<script>", Scale::Linear, &series(&[(0.0, 1.0)]))
                .unwrap()
                .contains("<script>")
        );
    }

    #[test]
    fn axis_labels_are_short() {
        assert_eq!(
            [0.1, 5.0, 250.0, 12_500.0].map(axis_label),
            ["0.1", "5", "250", "12.5k"].map(str::to_owned)
        );
    }
}
