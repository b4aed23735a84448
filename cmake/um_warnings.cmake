# um_warnings: the one place that says how our own C is compiled.
add_library(um_warnings INTERFACE)
target_compile_options(um_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wundef -Wstrict-prototypes -Wmissing-prototypes -Wvla
  -Wpointer-arith -Wwrite-strings -Wformat=2 -Wimplicit-fallthrough -Wno-psabi
  # Results must not depend on what the compiler chose to contract: fused operations are written out.
  -ffp-contract=off -fno-math-errno -fno-trapping-math)
if(CMAKE_C_COMPILER_ID MATCHES Clang) # the fuzzers' compiler: what gcc does not mean by the same names
  target_compile_options(um_warnings INTERFACE -Wno-missing-field-initializers -Wno-format-nonliteral -Wno-unknown-warning-option)
endif()
target_compile_definitions(um_warnings INTERFACE _GNU_SOURCE UNMASK_VERSION="${PROJECT_VERSION}")
target_include_directories(um_warnings INTERFACE ${CMAKE_SOURCE_DIR})
if(UNMASK_WERROR)
  target_compile_options(um_warnings INTERFACE -Werror)
endif()
if(UNMASK_SANITIZE)
  target_compile_options(um_warnings INTERFACE -fsanitize=${UNMASK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(um_warnings INTERFACE -fsanitize=${UNMASK_SANITIZE})
  target_compile_definitions(um_warnings INTERFACE UNMASK_SANITIZED=1)
endif()
if(UNMASK_FUZZ)
  target_compile_options(um_warnings INTERFACE -fsanitize=fuzzer-no-link)
endif()
