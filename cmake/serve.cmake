# The floor of moec serve: where libmicrohttpd is absent it is not built, and the command says so.
if(NOT MICROHTTPD_FOUND)
  message(STATUS "libmicrohttpd is absent: moec serve is left out")
  return()
endif()

moec_floor(serve moec_generate PkgConfig::MICROHTTPD PkgConfig::CRYPTO)

# The page, as an array of C.
set(page ${CMAKE_SOURCE_DIR}/src/serve/page.html)
set(page_source ${CMAKE_BINARY_DIR}/generated/page_html.c)
add_custom_command(
  OUTPUT ${page_source}
  COMMAND ${CMAKE_COMMAND} -DFILE=${page} -DOUT=${page_source} -DNAME=page_html -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${page} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
  VERBATIM)
target_sources(moec_serve PRIVATE ${page_source})
