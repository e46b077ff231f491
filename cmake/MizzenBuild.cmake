# How everything in this project is compiled. Nothing here reaches a consumer: it is applied to
# Mizzen's own targets by mizzen_build_settings().

include(CheckCXXCompilerFlag)
include(CheckPIESupported)
check_pie_supported()

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  endif()
  find_program(MOLD_PROGRAM mold)
  # GCC 12 knows -fuse-ld=mold; the check keeps older compilers on their default linker.
  if(MOLD_PROGRAM)
    set(CMAKE_REQUIRED_LINK_OPTIONS -fuse-ld=mold)
    check_cxx_compiler_flag("" MIZZEN_HAVE_MOLD)
    unset(CMAKE_REQUIRED_LINK_OPTIONS)
    if(MIZZEN_HAVE_MOLD)
      add_link_options(-fuse-ld=mold)
    endif()
  endif()

  if(MIZZEN_SANITIZE)
    add_compile_options(-fsanitize=${MIZZEN_SANITIZE} -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${MIZZEN_SANITIZE})
  endif()
  if(MIZZEN_COVERAGE)
    add_compile_options(--coverage)
    add_link_options(--coverage)
  endif()
  if(MIZZEN_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
      message(FATAL_ERROR "MIZZEN_FUZZ needs clang: configure with the preset 'fuzz'")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
  endif()
endif()

# mizzen_build_settings(<target>): language level, warnings, position-independent code.
function(mizzen_build_settings target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Wold-style-cast
    -Woverloaded-virtual)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 reports false positives of these two in its own headers under the sanitizers.
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized -Wno-restrict)
    # GCC 12 sees the inlined half of Asio's recycling allocator, by which coroutines are made and
    # freed, and takes it for a mismatch.
    target_compile_options(${target} PRIVATE -Wno-mismatched-new-delete)
    if(MIZZEN_SANITIZE MATCHES "thread")
      # Asio's fences, once for each instantiation; see tests/tsan_suppressions.txt.
      target_compile_options(${target} PRIVATE -Wno-tsan)
    endif()
  endif()
  if(MIZZEN_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
