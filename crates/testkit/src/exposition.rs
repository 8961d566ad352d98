//! Figures in the text format of Prometheus.

/// The sum of the series of a family that have all of these labels, each as
/// the text has it: `name="value"`.
///
/// # Errors
///
/// If the value of such a series is no number.
pub fn sum(text: &str, family: &str, labels: &[&str]) -> anyhow::Result<f64> {
    let is_wanted = |series: &str| {
        let name = series.split('{').next().unwrap_or_default();
        name == family && labels.iter().all(|label| series.contains(label))
    };
    let mut sum = 0.0;
    for line in text.lines() {
        if let Some((series, value)) = line.rsplit_once(' ')
            && is_wanted(series)
        {
            sum += value.parse::<f64>()?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_of_one_family_with_the_labels_asked_for() {
        let text =
            "# TYPE a counter\na{x=\"1\",y=\"1\"} 1\na{x=\"1\",y=\"2\"} 2\na_b{x=\"1\"} 4\nc 8\n";
        let of = |family: &str, labels: &[&str]| sum(text, family, labels).unwrap();
        assert_eq!(of("a", &[]), 3.0);
        assert_eq!(of("a", &["x=\"1\"", "y=\"2\""]), 2.0);
        assert_eq!(of("c", &[]), 8.0);
        assert_eq!(of("d", &[]), 0.0);
        assert!(sum("a x", "a", &[]).is_err());
    }
}
