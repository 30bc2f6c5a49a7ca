//! A mixture of experts in place of a layer's feed-forward (Shazeer et al. 2017): the router's logits are read to the host, each expert
//! computes the rows that are sent to it, and their outputs are added in the order of the experts, so that a row's bits do not depend on
//! its batch.

use crate::backend::{Backend, Ends, FeedForward, LinearView, Role};
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::spec::{self, Activation, Experts};

use super::stack::PassContext;
use super::weights::{ExpertView, MixtureView};

/// A layer's experts, loaded on a backend.
pub struct Mixture<B: Backend> {
    router: B::Linear,
    experts: Vec<Expert<B>>,
    shared: Option<Expert<B>>,
    shared_gate: Option<B::Linear>,
    /// A table of one row.
    bias: Option<B::Table>,
}

struct Expert<B: Backend> {
    up: B::Linear,
    down: B::Linear,
}

impl<B: Backend> Expert<B> {
    fn load(backend: &B, view: &ExpertView) -> Result<Self> {
        let linear = |l: &LinearView| backend.linear_load(Role::Layer, l);
        Ok(Self { up: linear(&view.up)?, down: linear(&view.down)? })
    }

    fn apply(&self, backend: &B, spec: &spec::Stack, x: &B::Tensor) -> Result<B::Tensor> {
        let ends = Ends { post: None, after: None };
        let (activation, gated) = (spec.activation, spec.gated);
        backend.expert(x, &FeedForward { norm: None, up: &self.up, activation, gated, down: &self.down, ends })
    }
}

impl<B: Backend> Mixture<B> {
    pub fn load(backend: &B, view: &MixtureView) -> Result<Self> {
        Ok(Self {
            router: backend.linear_load(Role::Router, &view.router)?,
            experts: view.experts.iter().map(|expert| Expert::load(backend, expert)).collect::<Result<_>>()?,
            shared: view.shared.as_ref().map(|shared| Expert::load(backend, shared)).transpose()?,
            shared_gate: view.shared_gate.as_ref().map(|gate| backend.linear_load(Role::Router, gate)).transpose()?,
            bias: match &view.bias {
                Some(bias) => {
                    let values = bias.to_vec_f32()?;
                    let width = values.len();
                    Some(backend.table_from(values, width)?)
                }
                None => None,
            },
        })
    }

    /// `x` and the experts' outputs of `norm(x)`.
    pub fn apply(
        &self,
        run: PassContext<'_, B>,
        spec: &spec::Stack,
        x: B::Tensor,
        norm: Option<&B::Norm>,
    ) -> Result<B::Tensor> {
        let Some(experts) = &spec.experts else { return Err(Error::internal("no experts")) };
        let backend = run.backend;
        run.time(Stage::Linear, || {
            let scores = |x: &B::Tensor, norm, w| {
                let mut scores = Vec::new();
                backend.read(&backend.project(x, norm, w, Activation::None)?, &mut scores)?;
                Ok::<_, Error>(scores)
            };
            let logits = scores(&x, norm, &self.router)?;
            let all: Vec<usize> = (0..logits.len() / experts.count).collect();
            let rows = backend.rows(&x, &all)?;
            let rows = match norm {
                Some(norm) => backend.norm(rows, norm)?,
                None => rows,
            };
            let mut x = x;
            for (expert, sent) in self.experts.iter().zip(route(experts, logits)) {
                if sent.rows.is_empty() {
                    continue;
                }
                let y = expert.apply(backend, spec, &backend.rows(&rows, &sent.rows)?)?;
                x = backend.add_rows(x, &y, &sent.rows, &sent.factors)?;
            }
            if let Some(bias) = &self.bias {
                let rows = backend.embed(&[(bias, &vec![0; all.len()], 1.0)])?;
                x = backend.add_rows(x, &rows, &all, &vec![1.0; all.len()])?;
            }
            let Some(shared) = &self.shared else { return Ok(x) };
            let factors = match &self.shared_gate {
                Some(gate) => {
                    scores(&rows, None, gate)?.into_iter().map(|score| 1.0 / (1.0 + (-score).exp())).collect()
                }
                None => vec![1.0; all.len()],
            };
            backend.add_rows(x, &shared.apply(backend, spec, &rows)?, &all, &factors)
        })
    }
}

/// The rows that an expert gets, in order, and the factors of its outputs.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sent {
    rows: Vec<usize>,
    factors: Vec<f32>,
}

/// What each expert gets, by logits `[rows, experts]`.
fn route(experts: &Experts, mut logits: Vec<f32>) -> Vec<Sent> {
    let mut sent = vec![Sent::default(); experts.count];
    let mut order: Vec<usize> = Vec::with_capacity(experts.count);
    for (row, logits) in logits.chunks_exact_mut(experts.count).enumerate() {
        let most = logits.iter().fold(f32::NEG_INFINITY, |most, &x| most.max(x));
        logits.iter_mut().for_each(|x| *x = (*x - most).exp());
        order.clear();
        order.extend(0..experts.count);
        // Stable: of equals the first.
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let chosen = &mut order[..experts.per_token];
        let among: f32 = match experts.normalized {
            true => chosen.iter().map(|&expert| logits[expert]).sum(),
            false => logits.iter().sum(),
        };
        for &expert in &*chosen {
            sent[expert].rows.push(row);
            sent[expert].factors.push(logits[expert] / among);
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_to_the_experts_of_the_largest_logits() {
        let experts = |normalized| Experts {
            count: 3,
            per_token: 2,
            intermediate: 1,
            normalized,
            shared: None,
            layers: Vec::new(),
        };
        // Softmax: 1/2, 1/4, 1/4, of which the first of the equals is taken; then 0, 1/4, 3/4.
        let logits = vec![2f32.ln(), 0.0, 0.0, f32::NEG_INFINITY, 0.0, 3f32.ln()];
        let near = |sent: &[Sent], expected: [(&[usize], &[f32]); 3]| {
            for (sent, (rows, factors)) in sent.iter().zip(expected) {
                assert_eq!(sent.rows, rows);
                assert!(sent.factors.iter().zip(factors).all(|(x, y)| (x - y).abs() < 1e-6), "{sent:?}");
                assert_eq!(sent.factors.len(), factors.len());
            }
        };
        near(&route(&experts(false), logits.clone()), [(&[0], &[0.5]), (&[0, 1], &[0.25, 0.25]), (&[1], &[0.75])]);
        let thirds = [(&[0][..], &[2.0 / 3.0][..]), (&[0, 1], &[1.0 / 3.0, 0.25]), (&[1], &[0.75])];
        near(&route(&experts(true), logits), thirds);
        assert!(route(&experts(true), Vec::new()).iter().all(|sent| sent.rows.is_empty()));
    }
}
