//! What was loaded and how it runs, as JSON.

use serde_json::{Value, json};

use crate::load::Loaded;
use crate::spec::{Device, Module, Position, Stack};

use super::Model;

impl Model {
    /// What was loaded and how it runs, as one JSON object.
    pub fn info(&self) -> Value {
        let Loaded { engine, classifier, .. } = &*self.0;
        let spec = &engine.spec;
        let of_tokens = classifier.scoring.logit_score.map(|_| "logit_score".to_string());
        let head = spec.head.as_ref().map(|head| format!("{:?}", head.kind).to_lowercase()).or(of_tokens);
        let mut info = json!({
            "path": self.0.engine.path.display().to_string(),
            "family": spec.family,
            "device": self.0.device.name(),
            "device_index": self.0.device_index,
            "device_memory": self.device_memory_info(),
            "precision": self.0.precision.name(),
            "kernels": self.0.engine.network.describe(),
            "threads": self.0.engine.pool.threads(),
            "weight_bytes": self.0.weight_bytes,
            "calibration": self.0.calibration,
            "max_length": self.0.engine.max_length,
            "vocabulary": spec.vocabulary,
            "max_tokens": spec.max_tokens(),
            "encoder": spec.encoder.as_ref().map(describe),
            "decoder": spec.decoder.as_ref().map(describe),
            "embedding": self.embedding_info(),
            "head": head,
            "labels": classifier.labels,
            "masked_language_head": spec.masked.is_some(),
        });
        if let (Value::Object(info), Value::Object(more)) = (&mut info, self.0.engine.network.info()) {
            info.extend(more);
        }
        info
    }

    /// How texts are embedded.
    fn embedding_info(&self) -> Value {
        let Loaded { engine, embedding, .. } = &*self.0;
        let modules = &engine.modules;
        let names: Vec<_> = modules.poolings.iter().map(|pooling| pooling.name()).collect();
        let pooling = match &embedding.modules {
            Ok(_) if modules.graph.is_some() => "by the graph".to_string(),
            Ok(_) => names.join(" + "),
            Err(error) => error.message().to_string(),
        };
        let before = modules.tokens.iter().map(|module| format!("{} of each token", module_name(module)));
        let after = modules.texts.iter().map(module_name);
        json!({
            "pooling": pooling,
            "include_prompt": modules.include_prompt,
            "modules": before.chain(after).collect::<Vec<_>>(),
            "normalize": modules.normalizes(),
            "dimension": self.embedding_size(),
            "truncate_dim": embedding.truncate_dim,
            "prompts": embedding.prompts,
            "default_prompt_name": embedding.default_prompt_name,
            "similarity_fn_name": embedding.similarity_fn_name,
        })
    }

    /// A GPU's memory: used by the model, total, and free; null for a model that runs on the CPU.
    fn device_memory_info(&self) -> Value {
        let of_kind = match self.0.device {
            Device::Cpu | Device::CandleCpu => return Value::Null,
            device => crate::load::devices::of_kind(device, true).unwrap_or_default(),
        };
        let info = of_kind.into_iter().find(|info| info.index == self.0.device_index);
        json!({
            "used_by_model": self.device_memory(),
            "total": info.as_ref().map(|info| info.memory_total),
            "free": info.as_ref().map(|info| info.memory_free),
        })
    }
}

fn module_name(module: &Module) -> String {
    match module {
        Module::Dense(dense) => {
            let residual = if dense.residual.is_some() { ", residual" } else { "" };
            format!("Dense {} to {}, {}{residual}", dense.inputs, dense.outputs, dense.activation.name())
        }
        Module::LayerNorm { .. } => "LayerNorm".to_string(),
        Module::Normalize => "Normalize".to_string(),
    }
}

fn describe(stack: &Stack) -> Value {
    let attention = &stack.attention;
    json!({
        "hidden": stack.hidden,
        "layers": stack.layers,
        "heads": stack.heads.count,
        "kv_heads": stack.heads.kv,
        "head_dim": stack.heads.dim,
        "intermediate": stack.intermediate,
        "activation": format!("{}{:?}", if stack.gated { "gated " } else { "" }, stack.activation),
        "experts": stack.experts.as_ref().map(|experts| json!({
            "count": experts.count,
            "per_token": experts.per_token,
            "intermediate": experts.intermediate,
            "shared_intermediate": experts.shared,
        })),
        "norm": format!("{:?} {:?} eps {:e}", stack.norm.place, stack.norm.kind, stack.norm.eps),
        "position": position(stack),
        "token_types": stack.token_types,
        "window": attention.windows.iter().max(),
        "max_tokens": stack.max_tokens,
    })
}

/// The position encodings of a stack.
fn position(stack: &Stack) -> String {
    let mut parts = Vec::new();
    if stack.position != Position::None {
        parts.push(format!("{:?}", stack.position));
    }
    parts.extend(stack.relative.map(|relative| format!("{relative:?}")));
    parts.extend(stack.disentangled.map(|disentangled| format!("{disentangled:?}")));
    parts.extend(stack.rotary.as_ref().map(|r| format!("rotary, {} components, base {}", r.dim, r.theta)));
    parts.join(" and ")
}
