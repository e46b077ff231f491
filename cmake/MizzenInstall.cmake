# Install rules and the CMake package:
#   find_package(mizzen REQUIRED COMPONENTS inference tracking)   ->   mizzen::inference, …
# Each module has an export set of its own, so that a component pulls in only its own packages.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mizzen)
get_property(modules GLOBAL PROPERTY MIZZEN_MODULES)

set(MIZZEN_CONFIG_MODULES "")
foreach(module IN LISTS modules)
  install(TARGETS mizzen_${module} EXPORT mizzen-${module}-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(EXPORT mizzen-${module}-targets NAMESPACE mizzen:: DESTINATION ${package_dir})
  install(DIRECTORY ${mizzen_SOURCE_DIR}/include/mizzen/${module}
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mizzen FILES_MATCHING PATTERN "*.hpp")
  install(FILES ${mizzen_SOURCE_DIR}/include/mizzen/${module}.hpp
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mizzen)

  get_property(depends GLOBAL PROPERTY MIZZEN_MODULES_OF_${module})
  get_property(packages GLOBAL PROPERTY MIZZEN_PACKAGES_OF_${module})
  string(APPEND MIZZEN_CONFIG_MODULES "set(_mizzen_modules_of_${module} ${depends})\n")
  string(APPEND MIZZEN_CONFIG_MODULES "set(_mizzen_packages_of_${module}")
  foreach(package IN LISTS packages)
    string(APPEND MIZZEN_CONFIG_MODULES " \"${package}\"")
  endforeach()
  string(APPEND MIZZEN_CONFIG_MODULES ")\n")
endforeach()
string(REPLACE ";" " " MIZZEN_CONFIG_ALL "${modules}")

configure_package_config_file(
  ${mizzen_SOURCE_DIR}/cmake/mizzen-config.cmake.in
  ${mizzen_BINARY_DIR}/mizzen-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${mizzen_BINARY_DIR}/mizzen-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${mizzen_BINARY_DIR}/mizzen-config.cmake
  ${mizzen_BINARY_DIR}/mizzen-config-version.cmake
  DESTINATION ${package_dir})
