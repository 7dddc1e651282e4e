# src/quant/wide/*.c is compiled once for each width of vectors (quant/wide.h), with the options of kernels.cmake.
file(GLOB wide_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/quant/wide/*.c)
foreach(isa avx2 avx512)
  add_library(quant_${isa} OBJECT ${wide_sources})
  target_compile_definitions(quant_${isa} PRIVATE VARIANT=${isa})
  target_compile_options(quant_${isa} PRIVATE -O3 -fno-math-errno -fno-trapping-math ${${isa}_options})
  target_link_libraries(quant_${isa} PRIVATE moec_eval)
  target_sources(moec_quant PRIVATE $<TARGET_OBJECTS:quant_${isa}>)
endforeach()
