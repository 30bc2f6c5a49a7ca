//! How one vector per token becomes one vector per text.

/// How one vector per token becomes one vector per text (sentence-transformers' `Pooling` module, Reimers & Gurevych 2019).
///
/// The numbers are part of the C ABI: they are only ever appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Pooling {
    /// The mean over all tokens, special ones included.
    Mean = 1,
    /// The first token's vector.
    Cls = 2,
    /// The last token's vector.
    Last = 3,
    /// No pooling: one vector per token.
    None = 4,
    /// The largest value of each component over all tokens.
    Max = 5,
    /// The mean weighted by position: the first token counts once, the second twice, … (SGPT, Muennighoff 2022).
    WeightedMean = 6,
    /// The sum over all tokens, divided by the square root of their number.
    MeanSqrtLen = 7,
}

impl Pooling {
    pub const ALL: [Self; 7] =
        [Self::Mean, Self::Cls, Self::Last, Self::None, Self::Max, Self::WeightedMean, Self::MeanSqrtLen];

    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Last => "last",
            Self::None => "none",
            Self::Max => "max",
            Self::WeightedMean => "weightedmean",
            Self::MeanSqrtLen => "mean_sqrt_len_tokens",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&p| p as u32 == value)
    }
}
