// Kinglet for C++: small language models inside your program. Header-only, over the C library; C++17 or later.
//
//   auto model = kinglet::Model::load("all-MiniLM-L6-v2", {.precision = kinglet::Precision::Int8}).value();   // C++20
//   auto embeddings = model.embed({"a kinglet sings", "the market fell"}).value();
//   for (auto vector : embeddings) use(vector.data(), vector.size());
//
//   auto writer = kinglet::Model::load("SmolLM2-135M-Instruct").value();
//   kinglet::GenerateOptions options;                                                                         // C++17
//   options.max_new_tokens = 40;
//   options.on_piece = [](const kinglet::Piece &piece) { std::cout << piece.text << std::flush; };
//   auto generations = writer.generate("The kinglet is a", options).value();
//   std::string_view text = generations[0].text;
//
// Errors. Every operation that can fail is noexcept and returns a Result: value() throws the kinglet::Error, or has_value() and error()
// are used instead. With -fno-exceptions value() aborts. Not reported is std::bad_alloc of C++ itself: it is thrown while an argument
// list is made, and ends the program inside a noexcept function.
//
// Ownership. Handles free themselves. They are move-only, except Model, of which a copy is one more owner. Spans and string_views of a
// result are valid until it is destroyed or assigned to; moving the result keeps them valid. A moved-from result is empty; a moved-from
// Model, Cancellation, Session or Encoding gives Status::InvalidArgument.
//
// Threads. Const member functions may run at the same time on one object. Destroying, moving and assigning must not run at the same time
// as anything else on that object.

#ifndef KINGLET_HPP
#define KINGLET_HPP

#include "kinglet/devices.hpp"
#include "kinglet/enums.hpp"
#include "kinglet/fwd.hpp"
#include "kinglet/generation.hpp"
#include "kinglet/masked.hpp"
#include "kinglet/model.hpp"
#include "kinglet/options.hpp"
#include "kinglet/request.hpp"
#include "kinglet/result.hpp"
#include "kinglet/results.hpp"
#include "kinglet/search.hpp"
#include "kinglet/span.hpp"

#endif
