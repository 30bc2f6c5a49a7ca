//! Search among embeddings, and embeddings in fewer bits. No model is needed.

use std::ffi::c_void;
use std::slice::from_raw_parts;

use half::f16;

use crate::base::error::{Error, Result};
use crate::vectors::{
    self, EmbeddingCodes, EmbeddingRows, EmbeddingType, EmbeddingValues, SearchOptions, Similarity, elements,
};

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::enums::enumeration;
use super::error::{kinglet_error, kinglet_status};
use super::handle::null;
use super::structs::{choice, options, unknown, versioned};

enumeration! {
    /// The type of an embedding's elements.
    pub type kinglet_embedding_type, kinglet_embedding_type_name;
    /// float.
    KINGLET_EMBEDDING_TYPE_FLOAT32 = 0, c"float32", EmbeddingType::Float32;
    /// IEEE half precision, two bytes.
    KINGLET_EMBEDDING_TYPE_FLOAT16 = 1, c"float16", EmbeddingType::Float16;
    /// One of 256 steps of the dimension's range, from -128 to 127.
    KINGLET_EMBEDDING_TYPE_INT8 = 2, c"int8", EmbeddingType::Int8;
    /// The same from 0 to 255.
    KINGLET_EMBEDDING_TYPE_UINT8 = 3, c"uint8", EmbeddingType::Uint8;
    /// Whether each value is above 0, as a bit: eight values to an element, the first in the highest bit, and 128 subtracted, which
    /// makes it an int8_t.
    KINGLET_EMBEDDING_TYPE_BINARY = 4, c"binary", EmbeddingType::Binary;
    /// The same as uint8_t.
    KINGLET_EMBEDDING_TYPE_UBINARY = 5, c"ubinary", EmbeddingType::Ubinary;
}

enumeration! {
    /// What makes two embeddings similar.
    pub type kinglet_similarity, kinglet_similarity_name;
    /// Cosine for floats, the dot product for int8 and uint8, Hamming for binary types.
    KINGLET_SIMILARITY_AUTO = 0, c"auto";
    /// The sum of the products of their values. Codes count as the numbers that they are.
    KINGLET_SIMILARITY_DOT = 1, c"dot", Similarity::Dot;
    /// The same divided by the lengths of both; 0 where a length is 0.
    KINGLET_SIMILARITY_COSINE = 2, c"cosine", Similarity::Cosine;
    /// Only of binary types: how many bits differ, negated, so that more is more similar.
    KINGLET_SIMILARITY_HAMMING = 3, c"hamming", Similarity::Hamming;
}

/// Embeddings in the caller's memory. They are read during the call and not kept.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_embedding_rows {
    /// sizeof(kinglet_embedding_rows), set by the caller.
    pub struct_size: usize,
    /// The type of their elements.
    pub kind: kinglet_embedding_type,
    /// Must be 0.
    pub reserved: u32,
    /// The first element of the first embedding, aligned to its type. It may be NULL if `count` is 0.
    pub data: *const c_void,
    /// The number of embeddings.
    pub count: usize,
    /// Values per embedding, 1 to 32768. An embedding has as many elements; of binary types `(dimension + 7) / 8`, whose spare bits are 0.
    pub dimension: usize,
    /// The distance between the first elements of two embeddings, in elements. 0: they are one after the other.
    pub stride: usize,
}

versioned!(kinglet_embedding_rows, "rows", 48);

/// Where kinglet_embeddings_quantize writes, and what.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_embedding_codes {
    /// sizeof(kinglet_embedding_codes), set by the caller.
    pub struct_size: usize,
    /// The type to write.
    pub kind: kinglet_embedding_type,
    /// Must be 0.
    pub reserved: u32,
    /// Receives the embeddings; aligned to the type.
    pub data: *mut c_void,
    /// The number of elements that fit there: for `n` elements per embedding at least `(count - 1) * stride + n`.
    pub capacity: usize,
    /// As in kinglet_embedding_rows; what lies between embeddings is not written.
    pub stride: usize,
}

versioned!(kinglet_embedding_codes, "codes", 40);

/// Options of kinglet_embeddings_quantize. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_quantize_embeddings_options {
    /// sizeof(kinglet_quantize_embeddings_options).
    pub struct_size: usize,
    /// For int8 and uint8: `2 * dimension` values, as kinglet_embeddings_ranges gives them. Other types ignore them. NULL: the ranges
    /// of the embeddings of this call.
    pub ranges: *const f32,
}

versioned!(kinglet_quantize_embeddings_options, "options", 16);

/// Options of kinglet_embeddings_search. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_search_options {
    /// sizeof(kinglet_search_options).
    pub struct_size: usize,
    /// Hits per query; all, if the corpus has fewer embeddings. 0: 10.
    pub top_k: usize,
    /// What makes embeddings similar.
    pub similarity: kinglet_similarity,
    /// Threads of the call, the caller's included; a small search takes only the caller's. 0: as many as the process may run at once.
    pub threads: u32,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// For queries of float32 over a corpus of int8 or uint8, and only then: the ranges that the corpus was quantised with,
    /// `2 * dimension` values.
    pub ranges: *const f32,
    /// For queries of float32 over a corpus of int8, uint8 or a binary type, and only then: `top_k` times so many candidates are found
    /// by their codes, of which the best are kept by the product of the query's own values with the codes (bits are 0 and 1). 0: 2.
    pub rescore_multiplier: usize,
}

versioned!(kinglet_search_options, "options", 48);

/// Where kinglet_embeddings_search writes. Nothing is written if the call fails.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_search_buffer {
    /// sizeof(kinglet_search_buffer), set by the caller.
    pub struct_size: usize,
    /// Receives for each query the numbers of its hits in the corpus.
    pub indices: *mut i64,
    /// Receives their scores.
    pub scores: *mut f32,
    /// The number of values that fit into each: at least the number of queries times the hits per query.
    pub capacity: usize,
}

versioned!(kinglet_search_buffer, "buffer", 32);

/// Writes the range of each dimension among embeddings of float32 to `ranges`, which has room for `capacity` values, at least
/// `2 * dimension`: the least value of each dimension, then the greatest of each. Fails with KINGLET_STATUS_INVALID_ARGUMENT if there is
/// no embedding, or a value that is not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_embeddings_ranges(
    embeddings: *const kinglet_embedding_rows,
    ranges: *mut f32,
    capacity: usize,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a struct of the size that it states, and memory as it says.
        let embeddings = unsafe { rows(embeddings, "embeddings") }?;
        check_output(ranges, "ranges")?;
        let needed = embeddings.dimension.saturating_mul(2);
        if capacity < needed {
            return Err(Error::invalid_argument(format!("capacity: is {capacity}, and {needed} values are needed")));
        }
        let found = vectors::embedding_ranges(&embeddings)?;
        // SAFETY: C gave room for `capacity` values, of which these are no more.
        unsafe { ranges.copy_from_nonoverlapping(found.as_ptr(), found.len()) };
        Ok(())
    })
}

/// Writes embeddings of float32 in another type, as sentence-transformers' `quantize_embeddings` does. int8 and uint8 are
/// `floor((value - least) / step)` within 0 and 255, where a step is a 255th of the dimension's range (1 for an empty range); int8 is
/// less by 128. Codes that are compared must have the same ranges: give those of the corpus to the calls for its queries. `options` may
/// be NULL. Fails with KINGLET_STATUS_INVALID_ARGUMENT for a NaN, for ranges that are none, and for a buffer that is too small; nothing
/// is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_embeddings_quantize(
    embeddings: *const kinglet_embedding_rows,
    options: *const kinglet_quantize_embeddings_options,
    codes: *const kinglet_embedding_codes,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        if codes.is_null() {
            return Err(null("codes"));
        }
        let (embeddings, options, codes) =
            // SAFETY: C passes structs of the size that they state, and memory as they say.
            unsafe { (rows(embeddings, "embeddings")?, self::options(options)?, self::options(codes)?) };
        let kind = kind(codes.kind, codes.reserved, "codes")?;
        let (count, width) = (embeddings.count, kind.width(embeddings.dimension));
        let stride = if codes.stride == 0 { width } else { codes.stride };
        if stride < width {
            return Err(Error::invalid_argument(format!(
                "codes.stride: {stride} is less than the {width} elements of an embedding"
            )));
        }
        match elements(count, width, stride) {
            Some(needed) if needed <= codes.capacity => {}
            needed => {
                let needed = needed.unwrap_or(usize::MAX);
                return Err(Error::invalid_argument(format!(
                    "codes.capacity: is {}, and {needed} elements are needed",
                    codes.capacity
                )));
            }
        }
        let size = element_size(kind);
        if count > 0 && codes.data.is_null() {
            return Err(null("codes.data"));
        }
        if !codes.data.addr().is_multiple_of(size) {
            return Err(Error::invalid_argument("codes.data: is not aligned to its type"));
        }
        // SAFETY: NULL or as many values as the struct says.
        let ranges = unsafe { self::ranges(options.ranges, embeddings.dimension) }?;
        let made = vectors::quantize_embeddings(&embeddings, kind, ranges)?;
        let from: *const u8 = match &made {
            EmbeddingCodes::Float32(values) => values.as_ptr().cast(),
            EmbeddingCodes::Float16(values) => values.as_ptr().cast(),
            EmbeddingCodes::Int8(values) | EmbeddingCodes::Binary(values) => values.as_ptr().cast(),
            EmbeddingCodes::Uint8(values) | EmbeddingCodes::Ubinary(values) => values.as_ptr(),
        };
        for i in 0..count {
            // SAFETY: there are `count` embeddings of `width` elements, and C's memory has room for as many at this stride.
            unsafe {
                let to = codes.data.cast::<u8>().add(i * stride * size);
                to.copy_from_nonoverlapping(from.add(i * width * size), width * size);
            }
        }
        Ok(())
    })
}

/// Finds for each query the embeddings of the corpus that are most similar to it, exactly, by comparing it with all of them. The first
/// query's hits come first, the most similar one first, and the lower number of two that are equal; each query has `top_k` of them, or
/// as many as the corpus has. Queries and corpus have the same dimension and type, or queries are float32 or float16 and the corpus any
/// of these two, or queries are float32 and are quantised as the corpus is (`ranges`, `rescore_multiplier`). `options` may be NULL.
/// Scores do not depend on the number of threads, and those of codes not on the machine. The corpus is read in place; the memory of the
/// call grows with the hits only. Fails with KINGLET_STATUS_INVALID_ARGUMENT for types that do not go together or a score that is NaN,
/// KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_embeddings_search(
    queries: *const kinglet_embedding_rows,
    corpus: *const kinglet_embedding_rows,
    options: *const kinglet_search_options,
    buffer: *const kinglet_search_buffer,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        if buffer.is_null() {
            return Err(null("buffer"));
        }
        // SAFETY: C passes structs of the size that they state, and memory as they say.
        let (queries, corpus, o, buffer) = unsafe {
            let (queries, corpus) = (rows(queries, "queries")?, rows(corpus, "corpus")?);
            (queries, corpus, self::options(options)?, self::options(buffer)?)
        };
        let options = SearchOptions {
            top_k: (o.top_k != 0).then_some(o.top_k),
            similarity: choice(o.similarity, "options.similarity", Similarity::from_u32)?,
            // SAFETY: NULL or as many values as the struct says.
            ranges: unsafe { ranges(o.ranges, corpus.dimension) }?,
            rescore_multiplier: (o.rescore_multiplier != 0).then_some(o.rescore_multiplier),
            threads: (o.threads != 0).then_some(o.threads as usize),
            // SAFETY: NULL or a live cancellation.
            cancellation: unsafe { cancellation::optional(o.cancellation) },
        };
        let hits = queries.count.saturating_mul(options.per_query(corpus.count));
        if hits > buffer.capacity {
            let capacity = buffer.capacity;
            return Err(Error::invalid_argument(format!("buffer.capacity: is {capacity}, and there are {hits} hits")));
        }
        if hits > 0 {
            check_output(buffer.indices, "buffer.indices")?;
            check_output(buffer.scores, "buffer.scores")?;
        }
        let found = vectors::search(&queries, &corpus, &options)?;
        if hits > 0 {
            // SAFETY: C gave room for `capacity` values, of which these are no more.
            unsafe {
                buffer.indices.copy_from_nonoverlapping(found.indices.as_ptr(), found.indices.len());
                buffer.scores.copy_from_nonoverlapping(found.scores.as_ptr(), found.scores.len());
            }
        }
        Ok(())
    })
}

fn check_output<T>(pointer: *mut T, name: &str) -> Result<()> {
    match (pointer.is_null(), pointer.is_aligned()) {
        (true, _) => Err(null(name)),
        (_, false) => Err(Error::invalid_argument(format!("{name}: is not aligned to its type"))),
        _ => Ok(()),
    }
}

fn element_size(kind: EmbeddingType) -> usize {
    match kind {
        EmbeddingType::Float32 => size_of::<f32>(),
        EmbeddingType::Float16 => size_of::<f16>(),
        EmbeddingType::Int8 | EmbeddingType::Uint8 | EmbeddingType::Binary | EmbeddingType::Ubinary => 1,
    }
}

fn kind(kind: kinglet_embedding_type, reserved: u32, name: &str) -> Result<EmbeddingType> {
    if reserved != 0 {
        return Err(Error::unsupported(format!("{name}.reserved: is {reserved}, and must be 0")));
    }
    EmbeddingType::from_u32(kind).ok_or_else(|| unknown(kind, &format!("{name}.kind")))
}

/// # Safety
/// NULL or two values for each dimension, which live as long as the result is used.
unsafe fn ranges<'a>(pointer: *const f32, dimension: usize) -> Result<Option<&'a [f32]>> {
    if pointer.is_null() {
        return Ok(None);
    }
    check_output(pointer.cast_mut(), "options.ranges")?;
    // SAFETY: the caller's promise; a dimension is small, as `rows` has checked.
    Ok(Some(unsafe { from_raw_parts(pointer, 2 * dimension) }))
}

/// The embeddings of the argument `name`.
///
/// # Safety
/// `pointer` is NULL or points at a struct of the size that it states, whose memory is as it says and lives as long as the result is used.
unsafe fn rows<'a>(pointer: *const kinglet_embedding_rows, name: &str) -> Result<EmbeddingRows<'a>> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: the caller's promise.
    let kinglet_embedding_rows { kind, reserved, data, count, dimension, stride, .. } = unsafe { options(pointer) }?;
    let kind = self::kind(kind, reserved, name)?;
    let (width, size) = (kind.width(dimension), element_size(kind));
    let stride = if stride == 0 { width } else { stride };
    vectors::check_shape(name, dimension, width, stride)?;
    let bytes = elements(count, width, stride).and_then(|elements| elements.checked_mul(size));
    let Some(bytes) = bytes.filter(|&bytes| bytes <= isize::MAX as usize) else {
        return Err(Error::invalid_argument(format!("{name}.count: {count} embeddings cannot be")));
    };
    if bytes > 0 && data.is_null() {
        return Err(null(&format!("{name}.data")));
    }
    if !data.addr().is_multiple_of(size) {
        return Err(Error::invalid_argument(format!("{name}.data: is not aligned to its type")));
    }
    let values = match kind {
        // SAFETY: the caller's promise; the memory is aligned, and of a size that can be.
        EmbeddingType::Float32 => EmbeddingValues::Float32(unsafe { slice(data, bytes) }),
        // SAFETY: likewise; every pattern of bits is an f16.
        EmbeddingType::Float16 => EmbeddingValues::Float16(unsafe { slice(data, bytes) }),
        // SAFETY: likewise.
        EmbeddingType::Int8 => EmbeddingValues::Int8(unsafe { slice(data, bytes) }),
        // SAFETY: likewise.
        EmbeddingType::Uint8 => EmbeddingValues::Uint8(unsafe { slice(data, bytes) }),
        // SAFETY: likewise.
        EmbeddingType::Binary => EmbeddingValues::Binary(unsafe { slice(data, bytes) }),
        // SAFETY: likewise.
        EmbeddingType::Ubinary => EmbeddingValues::Ubinary(unsafe { slice(data, bytes) }),
    };
    Ok(EmbeddingRows { values, count, dimension, stride })
}

/// # Safety
/// `data` has so many bytes, is aligned to `T`, and lives as long as the result is used; it may be NULL if there are none.
unsafe fn slice<'a, T>(data: *const c_void, bytes: usize) -> &'a [T] {
    match bytes {
        0 => &[],
        // SAFETY: the caller's promise.
        _ => unsafe { from_raw_parts(data.cast(), bytes / size_of::<T>()) },
    }
}
