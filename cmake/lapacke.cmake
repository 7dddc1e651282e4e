# The target lapacke, and a check at configure time that it has what quantisation and initialisation call.
include(CheckCSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES ${LAPACKE_LIBRARY})
set(CMAKE_REQUIRED_INCLUDES ${LAPACKE_INCLUDE})
check_c_source_compiles("#include <lapacke.h>
int main(void) { float a = 1, t; double b = 1, w;
  return LAPACKE_sgeqrf(LAPACK_COL_MAJOR, 1, 1, &a, 1, &t) + LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'N', 'U', 1, &b, 1, &w); }"
                         LAPACKE_WORKS)
unset(CMAKE_REQUIRED_LIBRARIES)
unset(CMAKE_REQUIRED_INCLUDES)
if(NOT LAPACKE_WORKS)
  message(FATAL_ERROR "${LAPACKE_LIBRARY} has no LAPACKE_sgeqrf: install LAPACKE (Debian: liblapacke-dev and libopenblas-dev)")
endif()
add_library(lapacke INTERFACE)
target_link_libraries(lapacke INTERFACE ${LAPACKE_LIBRARY})
target_include_directories(lapacke SYSTEM INTERFACE ${LAPACKE_INCLUDE})
