//! One evaluation of a run, as curves show it, and the words for it.

/// The subject of a run. It decides the axes and the words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// Images in classes. The axis counts epochs.
    #[default]
    Digits,
    /// A text. The axis counts steps.
    Text {
        /// What a token is: `character` or `byte`.
        token: &'static str,
    },
}

impl Subject {
    /// The unit of the axis: `epoch` or `step`.
    pub fn unit(self) -> &'static str {
        if self == Subject::Digits { "epoch" } else { "step" }
    }

    /// The items that a speed counts.
    pub fn labels(self) -> &'static str {
        if self == Subject::Digits { "images" } else { "tokens" }
    }

    /// The data of the evaluation.
    pub fn held_out(self) -> &'static str {
        if self == Subject::Digits { "test set" } else { "validation split" }
    }

    /// Short names of the training and of the evaluation.
    pub fn halves(self) -> [&'static str; 2] {
        ["train", if self == Subject::Digits { "test" } else { "validation" }]
    }
}

/// One evaluation of a run.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// The place on the axis: completed epochs, or completed steps.
    pub at: f64,
    /// Mean loss in training and in the evaluation, nats.
    pub loss: [f64; 2],
    /// Accuracy in training and in the evaluation, from 0 to 1.
    pub accuracy: [f64; 2],
    /// Learning rate of the last step.
    pub lr: f64,
    /// Share of all trits that changed since the previous evaluation. It is `None` for a network without trits.
    pub flips: Option<f64>,
    /// Each ternary matrix. It is empty for a network without trits.
    pub matrices: Vec<Matrix>,
    /// The training loss before this evaluation: pairs of a place on the axis, and the mean loss of the few steps before
    /// it.
    pub steps: Vec<(f64, f64)>,
}

/// A ternary matrix at an evaluation.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    /// Its layer, from 0.
    pub layer: usize,
    /// Its role in the layer: `q`, `gate`. It is empty where a layer has one matrix.
    pub role: String,
    /// Number of weights.
    pub weights: usize,
    /// Share of the trits that changed since the previous evaluation.
    pub flips: f64,
    /// Share of zero trits.
    pub zeros: f64,
}

impl Point {
    /// The mean of a share over the weights of the matrices for which `of` holds. It is NaN if there are none.
    pub fn mean(&self, share: fn(&Matrix) -> f64, of: impl Fn(&Matrix) -> bool) -> f64 {
        let (sum, weights) =
            self.matrices.iter().filter(|matrix| of(matrix)).fold((0.0, 0.0), |(sum, all), matrix| {
                let weights = matrix.weights as f64;
                (sum + weights * share(matrix), all + weights)
            });
        sum / weights
    }

    /// Number of layers with ternary matrices.
    pub fn layers(&self) -> usize {
        self.matrices.iter().map(|matrix| matrix.layer + 1).max().unwrap_or(0)
    }
}
