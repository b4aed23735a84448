# um_isa_sources(target file.c...): compiles each file once per instruction-set level. The file defines its functions through
# UM_ISA(name) (src/nn/cpu/isa.h), which appends the level, and a dispatcher picks one at run time. All levels do the same
# operations in the same order for each output, so they give the same bits.
function(um_isa_sources target)
  foreach(level base avx2 avx512)
    set(lib ${target}_${level})
    add_library(${lib} OBJECT ${ARGN})
    target_link_libraries(${lib} PRIVATE um_warnings)
    target_compile_definitions(${lib} PRIVATE UM_ISA_LEVEL=${level} UM_ISA_${level}=1)
    if(level STREQUAL avx2)
      target_compile_options(${lib} PRIVATE -mavx2 -mfma -mbmi2 -mf16c)
    elseif(level STREQUAL avx512)
      target_compile_options(${lib} PRIVATE -mavx2 -mfma -mbmi2 -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
    endif()
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${lib}>)
  endforeach()
endfunction()

# um_isa_bf16_sources(target file.c...): the same once more, as level avx512_bf16, with bfloat16 elements: another precision, so other bits.
function(um_isa_bf16_sources target)
  set(lib ${target}_avx512_bf16)
  add_library(${lib} OBJECT ${ARGN})
  target_link_libraries(${lib} PRIVATE um_warnings)
  target_compile_definitions(${lib} PRIVATE UM_ISA_LEVEL=avx512_bf16 UM_ISA_avx512=1 UM_ISA_avx512_bf16=1)
  target_compile_options(${lib} PRIVATE -mavx2 -mfma -mbmi2 -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mprefer-vector-width=512)
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${lib}>)
endfunction()
