# um_cuda: the GPU module libunmask_cuda.so, where CUDA's tool kit is. The program itself never links to it: it loads it at run time (src/nn/gpu_module.h).
set(UNMASK_CUDA auto CACHE STRING "Build the GPU module: auto (where nvcc is found), on, off")
set_property(CACHE UNMASK_CUDA PROPERTY STRINGS auto on off)

set(UM_HAS_CUDA OFF)
if(NOT UNMASK_CUDA STREQUAL off)
  find_program(UM_NVCC nvcc HINTS ${CMAKE_CUDA_COMPILER} $ENV{CUDA_HOME}/bin PATHS /usr/local/cuda/bin)
  if(UM_NVCC)
    set(CMAKE_CUDA_COMPILER ${UM_NVCC})
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90) # 90: machine code and PTX, for what comes after it
    set(CMAKE_CUDA_STANDARD 17)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    set(UM_HAS_CUDA ON)
  elseif(UNMASK_CUDA STREQUAL on)
    message(FATAL_ERROR "UNMASK_CUDA=on, and there is no nvcc: install NVIDIA's cuda-nvcc, cuda-cudart-dev and libcublas-dev, or set CUDA_HOME")
  endif()
endif()
if(UM_HAS_CUDA)
  # Only its declarations: the library is looked for when it is needed (mpi/nccl.c).
  find_path(UM_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  set(UM_HAS_NCCL OFF)
  if(UM_NCCL_INCLUDE)
    set(UM_HAS_NCCL ON)
  endif()
  message(STATUS "GPU module: with CUDA ${CUDAToolkit_VERSION}, NCCL ${UM_HAS_NCCL} (nccl.h: ${UM_NCCL_INCLUDE})")
else()
  message(STATUS "GPU module: not built (UNMASK_CUDA=${UNMASK_CUDA}, nvcc ${UM_NVCC})")
endif()

# What the module is made of; the emulator of the tests builds the same files.
set(UM_CUDA_C
  src/nn/cuda/device.c
  src/nn/cuda/gemm.c
  src/nn/cuda/backend.c
  src/nn/cuda/train_net.c
  src/nn/cuda/train_pass.c
  src/nn/cuda/trainer.c
  src/nn/cuda/detect.c
  mpi/nccl.c
  src/nn/cuda/module.c)
set(UM_CUDA_CU
  src/nn/cuda/infer.cu
  src/nn/cuda/depthwise.cu
  src/nn/cuda/train_norm.cu
  src/nn/cuda/train_depthwise.cu
  src/nn/cuda/train_squeeze.cu
  src/nn/cuda/train_head.cu
  src/nn/cuda/train_optim.cu
  src/nn/cuda/detect.cu
  src/nn/cuda/image.cu)
list(TRANSFORM UM_CUDA_C PREPEND ${CMAKE_SOURCE_DIR}/)
list(TRANSFORM UM_CUDA_CU PREPEND ${CMAKE_SOURCE_DIR}/)
# Products and sums rounded each by itself, as on the processor.
set(UM_CUDA_EXACT
  ${CMAKE_SOURCE_DIR}/src/nn/cuda/detect.cu
  ${CMAKE_SOURCE_DIR}/src/nn/cuda/image.cu)
