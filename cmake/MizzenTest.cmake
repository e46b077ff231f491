# mizzen_add_tests(<module> SOURCES <x_test.cpp>... [LINK <targets>...] [LABELS <labels>...])
#   one GoogleTest program, mizzen_<module>_tests; every test is known to ctest by its own name.
#   LABELS defaults to unit. A module with tests of another label (models, mlflow …) calls it again
#   with NAME <program>. FIXTURE: the ctest fixture that they require.
# mizzen_add_fuzz_target(<name> SOURCE <x_fuzz.cpp> [LINK <targets>...])
#   a libFuzzer program with its seeds in <source folder>/corpus/<name>; ctest runs it over the
#   corpus and then for MIZZEN_FUZZ_SECONDS.
set(MIZZEN_FUZZ_SECONDS 20 CACHE STRING "Seconds that ctest runs each fuzz target")

if(MIZZEN_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

function(mizzen_add_tests module)
  if(NOT MIZZEN_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "NAME;FIXTURE" "SOURCES;LINK;LABELS" ${ARGN})
  if(NOT arg_NAME)
    set(arg_NAME mizzen_${module}_tests)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  add_executable(${arg_NAME} ${arg_SOURCES})
  target_link_libraries(${arg_NAME} PRIVATE mizzen::${module} ${arg_LINK} GTest::gmock GTest::gtest_main)
  # Unit tests may reach the module's internal headers (src/<module>/…).
  target_include_directories(${arg_NAME} PRIVATE ${mizzen_SOURCE_DIR}/src)
  mizzen_build_settings(${arg_NAME})
  set(properties LABELS "${arg_LABELS}" TIMEOUT 300)
  if(arg_FIXTURE)
    list(APPEND properties FIXTURES_REQUIRED ${arg_FIXTURE})
  endif()
  gtest_discover_tests(${arg_NAME} DISCOVERY_TIMEOUT 60 PROPERTIES ${properties})
endfunction()

# mizzen_add_cluster_tests(<module> SOURCES <x_test.cpp>... [LINK <targets>...] [PROGRAM <name>] [NODE])
#   GoogleTests against the real control plane of tests/cluster (<cluster/cluster.hpp>): the program
#   mizzen_<module>_cluster_tests, label cluster. NODE: they need the real node too; label node,
#   mizzen_<module>_node_tests.
set(MIZZEN_TEST_CLUSTER_DIR "${CMAKE_BINARY_DIR}/cluster")
function(mizzen_add_cluster_tests module)
  if(NOT MIZZEN_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "NODE" "PROGRAM" "SOURCES;LINK" ${ARGN})
  set(label cluster)
  if(arg_NODE)
    set(label node)  # which brings the cluster with it
  endif()
  if(NOT arg_PROGRAM)
    set(arg_PROGRAM mizzen_${module}_${label}_tests)
  endif()
  mizzen_add_tests(${module} NAME ${arg_PROGRAM}
    SOURCES ${arg_SOURCES} LINK mizzen_test_cluster ${arg_LINK}
    LABELS ${label} FIXTURE ${label})
endfunction()

function(mizzen_add_fuzz_target name)
  if(NOT MIZZEN_FUZZ)
    return()
  endif()
  cmake_parse_arguments(arg "" "SOURCE" "LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCE})
  target_link_libraries(${name} PRIVATE ${arg_LINK})
  target_include_directories(${name} PRIVATE ${mizzen_SOURCE_DIR}/src)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  mizzen_build_settings(${name})
  set(seeds "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
  set(found "${CMAKE_CURRENT_BINARY_DIR}/${name}.corpus")
  file(MAKE_DIRECTORY "${found}")
  math(EXPR timeout "${MIZZEN_FUZZ_SECONDS} * 2 + 120")
  add_test(NAME ${name}
    COMMAND ${name} -max_total_time=${MIZZEN_FUZZ_SECONDS} -rss_limit_mb=2048 -timeout=20
            -print_final_stats=1 "${found}" "${seeds}")
  set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT ${timeout})
endfunction()

# mizzen_add_python_test(<name> VENV <venv> SCRIPT <x.py> [ARGS <args>...] [LABELS <labels>...] [TIMEOUT <s>])
#   a Python program run in the environment tests/requirements/<venv>.txt; skipped, with the reason,
#   where that environment cannot be made. Exit status 77 also means skipped.
function(mizzen_add_python_test name)
  if(NOT MIZZEN_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "VENV;SCRIPT;TIMEOUT" "ARGS;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 900)
  endif()
  add_test(NAME ${name}
    COMMAND ${mizzen_SOURCE_DIR}/tests/python.sh ${arg_VENV} ${CMAKE_CURRENT_SOURCE_DIR}/${arg_SCRIPT} ${arg_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77)
endfunction()
