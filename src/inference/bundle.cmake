# libmizzen-inference.so: inference and core in one shared library that shows the public API and
# nothing else, for programs that embed the engine and must stay small.
option(MIZZEN_INFERENCE_BUNDLE "Build libmizzen-inference.so, the engine in one shared library"
       ${PROJECT_IS_TOP_LEVEL})
if(NOT MIZZEN_INFERENCE_BUNDLE OR MIZZEN_SANITIZE OR MIZZEN_COVERAGE OR MIZZEN_FUZZ)
  return()
endif()

mizzen_find_packages("Threads" "nlohmann_json 3.11")
add_library(mizzen_inference_bundle SHARED
  $<TARGET_OBJECTS:mizzen_core> $<TARGET_OBJECTS:mizzen_inference>)
add_library(mizzen::inference_bundle ALIAS mizzen_inference_bundle)
set_target_properties(mizzen_inference_bundle PROPERTIES
  OUTPUT_NAME mizzen-inference
  LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_include_directories(mizzen_inference_bundle INTERFACE ${mizzen_SOURCE_DIR}/include)
target_link_libraries(mizzen_inference_bundle PUBLIC nlohmann_json::nlohmann_json Threads::Threads)
target_compile_features(mizzen_inference_bundle INTERFACE cxx_std_20)
set(map ${CMAKE_CURRENT_LIST_DIR}/bundle.map)
target_link_options(mizzen_inference_bundle PRIVATE
  -Wl,--version-script=${map} -Wl,--gc-sections -Wl,-z,defs)
set_property(TARGET mizzen_inference_bundle APPEND PROPERTY LINK_DEPENDS ${map})
if(MIZZEN_INSTALL)
  include(GNUInstallDirs)
  install(TARGETS mizzen_inference_bundle LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
