# The library for other programs: src/moec.h, and libmoec.so which exports what moec.c defines and nothing of the floors.
if(NOT EXISTS ${CMAKE_SOURCE_DIR}/src/moec.c OR NOT EXISTS ${CMAKE_SOURCE_DIR}/src/moec.h)
  message(STATUS "src/moec.c or src/moec.h is absent: the library is not built")
  return()
endif()

add_library(libmoec SHARED ${CMAKE_SOURCE_DIR}/src/moec.c)
set_target_properties(libmoec PROPERTIES OUTPUT_NAME moec VERSION ${PROJECT_VERSION} SOVERSION 0
                                         PUBLIC_HEADER ${CMAKE_SOURCE_DIR}/src/moec.h)
target_link_libraries(libmoec PRIVATE moec_study)
target_link_options(libmoec PRIVATE -Wl,--exclude-libs,ALL)
configure_file(${CMAKE_SOURCE_DIR}/src/moec.h ${CMAKE_BINARY_DIR}/moec.h COPYONLY)
# Relative to where moec.pc lies, so that `cmake --install build --prefix DIR` holds for any DIR.
file(RELATIVE_PATH PREFIX_FROM_PKGCONFIG /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_SOURCE_DIR}/cmake/moec.pc.in ${CMAKE_BINARY_DIR}/moec.pc @ONLY)

install(TARGETS libmoec LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_BINARY_DIR}/moec.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Tests of the library see only the header that is installed: tests/library/test_NAME.c
file(GLOB library_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/library/test_*.c)
enable_testing()
find_library(CMOCKA_LIBRARY NAMES cmocka REQUIRED)
foreach(source ${library_tests})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_include_directories(${name} PRIVATE ${CMAKE_BINARY_DIR})
  target_link_libraries(${name} PRIVATE libmoec ${CMOCKA_LIBRARY})
  add_test(NAME library.${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endforeach()

# A program of somebody else's, against what is installed.
get_directory_property(sanitizers LINK_OPTIONS)
add_test(NAME library.installed COMMAND sh ${CMAKE_SOURCE_DIR}/tests/library/installed.sh ${CMAKE_BINARY_DIR}
                                        ${CMAKE_C_COMPILER} ${sanitizers})
