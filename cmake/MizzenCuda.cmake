# mizzen::cuda_headers: the headers of the CUDA driver, NVRTC, cuBLASLt and cuDNN. Nothing is linked: the
# plug-in opens the libraries when it is asked for a device, so that one that is missing is a reason and not
# an error of the loader. Looked for in MIZZEN_CUDA_ROOT (what tools/cuda-toolkit.sh prints, or any toolkit),
# CUDA_HOME and where toolkits and Debian's packages lie.
set(MIZZEN_CUDA_ROOT "" CACHE STRING "CUDA toolkits, the first first: folders, or what tools/cuda-toolkit.sh prints")

set(mizzen_cuda_hints "")
set(mizzen_cudnn_hints "")
foreach(root IN LISTS MIZZEN_CUDA_ROOT)
  list(APPEND mizzen_cuda_hints ${root} ${root}/cu13)
  list(APPEND mizzen_cudnn_hints ${root}/cudnn)
endforeach()
list(APPEND mizzen_cuda_hints $ENV{CUDA_HOME} /usr/local/cuda)
find_path(MIZZEN_CUDA_INCLUDE cuda.h HINTS ${mizzen_cuda_hints} PATH_SUFFIXES include)
find_path(MIZZEN_NVRTC_INCLUDE nvrtc.h HINTS ${MIZZEN_CUDA_INCLUDE} ${mizzen_cuda_hints} PATH_SUFFIXES include)
find_path(MIZZEN_CUBLAS_INCLUDE cublasLt.h HINTS ${MIZZEN_CUDA_INCLUDE} ${mizzen_cuda_hints} PATH_SUFFIXES include)
find_path(MIZZEN_CUDNN_INCLUDE cudnn.h
  HINTS ${mizzen_cudnn_hints} ${mizzen_cuda_hints} ENV CUDNN_HOME PATH_SUFFIXES include)
foreach(part IN ITEMS CUDA NVRTC CUBLAS CUDNN)
  if(NOT MIZZEN_${part}_INCLUDE)
    message(FATAL_ERROR "MIZZEN_CUDA: no headers of ${part} found: give -DMIZZEN_CUDA_ROOT=<toolkit>, e.g. "
                        "\"$(tools/cuda-toolkit.sh)\", or -DMIZZEN_${part}_INCLUDE=<folder>")
  endif()
endforeach()

# <nv/target>, of which cuda_fp16.h makes use: beside the other headers or in a folder of its own.
set(mizzen_cccl "")
if(EXISTS ${MIZZEN_CUDA_INCLUDE}/cccl)
  set(mizzen_cccl ${MIZZEN_CUDA_INCLUDE}/cccl)
endif()

add_library(mizzen_cuda_headers INTERFACE)
add_library(mizzen::cuda_headers ALIAS mizzen_cuda_headers)
target_include_directories(mizzen_cuda_headers SYSTEM INTERFACE
  ${MIZZEN_CUDA_INCLUDE} ${mizzen_cccl} ${MIZZEN_NVRTC_INCLUDE} ${MIZZEN_CUBLAS_INCLUDE} ${MIZZEN_CUDNN_INCLUDE})
# Where the libraries of these headers lie, for the case that the loader does not know.
get_filename_component(cuda_lib "${MIZZEN_CUDA_INCLUDE}/../lib" ABSOLUTE)
get_filename_component(cuda_lib64 "${MIZZEN_CUDA_INCLUDE}/../lib64" ABSOLUTE)
get_filename_component(cudnn_lib "${MIZZEN_CUDNN_INCLUDE}/../lib" ABSOLUTE)
target_compile_definitions(mizzen_cuda_headers INTERFACE
  MIZZEN_CUDA_BUILD_LIBRARY_PATH="${cuda_lib}:${cuda_lib64}:${cudnn_lib}")
