// Kinglet for C++: small language models inside your program. Header-only, over the C library; C++17 or later.
//
//   kinglet::ModelOptions options;
//   options.precision = kinglet::Precision::Int8;
//   auto model = kinglet::Model::load("all-MiniLM-L6-v2", options);
//   auto embeddings = model.embed({"a kinglet sings", "the market fell"});
//   float first = embeddings[0][0];
//
//   auto writer = kinglet::Model::load("SmolLM2-135M-Instruct");
//   kinglet::GenerateOptions wanted;
//   wanted.max_new_tokens = 40;
//   wanted.on_piece = [](const kinglet::Piece &piece) { std::cout << piece.text << std::flush; };
//   auto made = writer.generate("The kinglet is a", wanted);
//   std::string_view text = made[0].text;
//
// Errors. Each operation comes twice. `embed` throws kinglet::Error; `try_embed` is noexcept and returns a kinglet::Result that has
// either the value or the Error. Compiled with -fno-exceptions only the second form is there. What no form reports is C++'s own
// memory running out while an argument list or a message is made: that is std::bad_alloc before the call, and std::terminate in a
// noexcept function.
//
// Ownership. All handles are move-only and free themselves. Spans and string_views lent by a result are valid until it is destroyed
// or assigned to; moving the result keeps them valid. A moved-from result is empty; a moved-from Model, Cancellation, Session
// or Encoding gives Status::InvalidArgument.
//
// Threads. Const member functions may run beside each other on the same object. Destroying, moving and assigning must not run
// beside anything on the same object.

#ifndef KINGLET_HPP
#define KINGLET_HPP

#include "kinglet/devices.hpp"
#include "kinglet/generation.hpp"
#include "kinglet/model.hpp"
#include "kinglet/options.hpp"
#include "kinglet/result.hpp"
#include "kinglet/results.hpp"
#include "kinglet/span.hpp"

#endif
