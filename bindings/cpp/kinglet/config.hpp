// What the other headers need of the compiler. Included by each of them.

#ifndef KINGLET_CONFIG_HPP
#define KINGLET_CONFIG_HPP

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define KINGLET_EXCEPTIONS 1
// Translation units with and without exceptions define value() differently. The inline namespace keeps the definitions apart: passing
// such a type from one kind of unit to the other is an error of the linker and not undefined behaviour.
#define KINGLET_FORM v0
#else
#define KINGLET_EXCEPTIONS 0
#define KINGLET_FORM v0_no_exceptions
#endif

#endif
