# Adds the CPU's numerics and arithmetic operators to MIZZEN_INFERENCE_KERNEL_SOURCES, and gives the kernels of each
# instruction set their compile flags. Included from src/inference/CMakeLists.txt.
set(isa_sources cpu/kernels/isa_generic.cpp cpu/kernels/isa_generic_half.cpp
  cpu/kernels/isa_generic_tiles.cpp cpu/kernels/isa_generic_int8.cpp)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  set(avx2_sources cpu/kernels/isa_avx2.cpp cpu/kernels/isa_avx2_half.cpp cpu/kernels/isa_avx2_int8.cpp)
  set(avx512_sources cpu/kernels/isa_amx_half.cpp cpu/kernels/isa_avx512.cpp cpu/kernels/isa_avx512_bf16_half.cpp
    cpu/kernels/isa_avx512_half.cpp cpu/kernels/isa_avx512_int8.cpp
    cpu/kernels/isa_avx512_vbmi_int8.cpp cpu/kernels/isa_avx512_vnni_int8.cpp)
  list(APPEND isa_sources ${avx2_sources} ${avx512_sources})
  set_property(SOURCE ${avx2_sources} APPEND PROPERTY COMPILE_OPTIONS -mavx2 -mfma -mf16c)
  set_property(SOURCE ${avx512_sources} APPEND PROPERTY COMPILE_OPTIONS
    -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  set_property(SOURCE cpu/kernels/isa_amx_half.cpp APPEND PROPERTY COMPILE_OPTIONS
    -mamx-tile -mamx-bf16)
  set_property(SOURCE cpu/kernels/isa_avx512_bf16_half.cpp APPEND PROPERTY COMPILE_OPTIONS
    -mavx512bf16)
  set_property(SOURCE cpu/kernels/isa_avx512_vbmi_int8.cpp APPEND PROPERTY COMPILE_OPTIONS
    -mavx512vbmi)
  set_property(SOURCE cpu/kernels/isa_avx512_vnni_int8.cpp APPEND PROPERTY COMPILE_OPTIONS
    -mavx512vnni)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 warns of its own _mm512_undefined_…().
    set_property(SOURCE ${avx512_sources} APPEND PROPERTY COMPILE_OPTIONS -Wno-uninitialized)
  endif()
endif()
# The tiles live in registers only when their loops are unrolled and the arrays dissolved. Under a
# sanitizer that takes minutes to compile and wins nothing.
if(NOT MIZZEN_SANITIZE)
  set_property(SOURCE ${isa_sources} APPEND PROPERTY COMPILE_OPTIONS -O3)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Partial redundancy elimination makes GCC 12 store the sums of a tile in each step as well.
    set(int8_sources ${isa_sources})
    list(FILTER int8_sources INCLUDE REGEX "_int8.cpp$")
    set_property(SOURCE ${int8_sources} APPEND PROPERTY COMPILE_OPTIONS -fno-tree-pre)
  endif()
endif()

list(APPEND MIZZEN_INFERENCE_KERNEL_SOURCES
  cpu/isa.cpp
  cpu/kernels/attention.cpp
  cpu/kernels/bf16_gemm.cpp
  cpu/kernels/conv.cpp
  cpu/kernels/conv_channels_last.cpp
  cpu/kernels/conv_depthwise.cpp
  cpu/kernels/conv_strips.cpp
  cpu/kernels/conv_transpose.cpp
  cpu/kernels/conv_transpose_channels_last.cpp
  cpu/kernels/conv_winograd.cpp
  cpu/kernels/elementwise.cpp
  cpu/kernels/gemm.cpp
  cpu/kernels/half_table.cpp
  cpu/kernels/int8_conv.cpp
  cpu/kernels/int8_gemm.cpp
  cpu/kernels/int8_table.cpp
  cpu/kernels/kernel_table.cpp
  cpu/kernels/norm.cpp
  cpu/kernels/picture_channels_last.cpp
  cpu/kernels/pool.cpp
  cpu/kernels/recurrent.cpp
  cpu/kernels/reduce.cpp
  cpu/ops/attention.cpp
  cpu/ops/bf16_product.cpp
  cpu/ops/binary.cpp
  cpu/ops/conv.cpp
  cpu/ops/conv_channels_last.cpp
  cpu/ops/conv_strip.cpp
  cpu/ops/conv_transpose.cpp
  cpu/ops/matrix.cpp
  cpu/ops/normalisation.cpp
  cpu/ops/picture_channels_last.cpp
  cpu/ops/pooling.cpp
  cpu/ops/post_ops.cpp
  cpu/ops/recurrent.cpp
  cpu/ops/quantise.cpp
  cpu/ops/quantised_conv.cpp
  cpu/ops/quantised_matmul.cpp
  cpu/ops/reduction.cpp
  cpu/ops/unary.cpp
  cpu/ops/window_attributes.cpp
  cpu/thread_pool.cpp
  ${isa_sources})
