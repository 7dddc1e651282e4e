# src/kernel/cpu/*.c is compiled once; src/kernel/cpu/isa/*.c once for each instruction set and activation type, with
# -DVARIANT=NAME, so that every machine finds its own code in one binary (kernel/cpu/variant.h).
file(GLOB cpu_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernel/cpu/*.c)
target_sources(moec_kernel PRIVATE ${cpu_sources})

# With sanitizers GCC takes six minutes for all of these at -O3, and their tests no less than at -O2; what is written in vectors runs
# as fast at -O1.
set(loop_optimisation -O3)
set(vector_optimisation -O3)
if(MOEC_SANITIZE)
  set(loop_optimisation -O2)
  set(vector_optimisation -O1)
endif()

file(GLOB isa_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernel/cpu/isa/*.c)
# Sums may be reordered (once, at compile time) so that reductions vectorise; NaN and infinity keep their meaning.
set(isa_options ${loop_optimisation} -fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math -freciprocal-math
                -ffp-contract=fast)
set(avx2_options -mavx2 -mfma -mf16c)
set(avx512_options -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512cd -mprefer-vector-width=512)
set(avx512bf16_options ${avx512_options} -mavx512bf16)
# No foreign bytes are parsed in kernels, and instrumenting their unrolled loops takes clang minutes.
set(fuzz_options $<$<BOOL:${MOEC_FUZZ}>:-fno-sanitize=all>)
foreach(variant avx2_f32 avx512_f32 avx512bf16_bf16)
  string(REGEX MATCH "^[^_]+" isa ${variant})
  string(REGEX MATCH "[^_]+$" act ${variant})
  string(TOUPPER ${act} ACT)
  add_library(kernel_${variant} OBJECT ${isa_sources})
  target_compile_definitions(kernel_${variant} PRIVATE VARIANT=${variant} ACT_${ACT} ISA_NAME="${isa}")
  target_compile_options(kernel_${variant} PRIVATE ${isa_options} ${${isa}_options} ${fuzz_options})
  target_link_libraries(kernel_${variant} PRIVATE moec_tensor OpenMP::OpenMP_C)
  target_sources(moec_kernel PRIVATE $<TARGET_OBJECTS:kernel_${variant}>)
endforeach()

# Products of packed weights with inputs that are rounded to int8 (kernel/cpu/packed.h), once for each set of integer instructions.
# Nothing is reordered or contracted here: all of them, and any number of rows, give the same bits.
file(GLOB integer_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernel/cpu/integer/*.c)
list(APPEND integer_sources ${CMAKE_SOURCE_DIR}/src/kernel/cpu/isa/scratch.c)
# Left to itself gcc 12 multiplies first and adds later, with more sums than there are registers: 120 GOP/s become 205 without.
set(int8_avx2_options ${avx2_options} $<$<C_COMPILER_ID:GNU>:-fno-tree-reassoc> $<$<C_COMPILER_ID:GNU>:-fno-tree-ter>)
set(int8_avxvnni_options ${avx2_options} -mavxvnni)
set(int8_avx512vnni_options ${avx512_options} -mavx512vnni)
foreach(variant int8_avx2 int8_avxvnni int8_avx512vnni)
  add_library(kernel_${variant} OBJECT ${integer_sources})
  target_compile_definitions(kernel_${variant} PRIVATE VARIANT=${variant})
  target_compile_options(kernel_${variant} PRIVATE ${vector_optimisation} -fno-math-errno -fno-trapping-math -ffp-contract=off
                                                   ${${variant}_options} ${fuzz_options})
  target_link_libraries(kernel_${variant} PRIVATE moec_tensor OpenMP::OpenMP_C)
  target_sources(moec_kernel PRIVATE $<TARGET_OBJECTS:kernel_${variant}>)
endforeach()
