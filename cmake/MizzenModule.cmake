# mizzen_add_module(<name>
#   SOURCES  <files>...                 sources of the library
#   MODULES  <names>...                 Mizzen modules it stands on (public: their headers are used)
#   PACKAGES "<find_package args>"...   packages a consumer of the static library must find too
#   PUBLIC   <targets>...               external targets whose headers appear in ours
#   PRIVATE  <targets>...               external targets that stay behind our headers)
#
# Makes the library mizzen_<name>, its alias mizzen::<name> and what MizzenInstall exports for it.
# The lists MODULES and PACKAGES are the single source for both this build and the installed package.
define_property(GLOBAL PROPERTY MIZZEN_MODULES)

function(mizzen_add_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;MODULES;PACKAGES;PUBLIC;PRIVATE" ${ARGN})

  foreach(module IN LISTS arg_MODULES)
    if(NOT TARGET mizzen_${module})
      string(TOUPPER "${module}" upper)
      string(TOUPPER "${name}" upper_name)
      message(FATAL_ERROR "mizzen::${name} stands on mizzen::${module}: "
                          "set MIZZEN_${upper}=ON, or MIZZEN_${upper_name}=OFF")
    endif()
  endforeach()

  set(target mizzen_${name})
  add_library(${target} ${arg_SOURCES})
  add_library(mizzen::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES
    EXPORT_NAME ${name}
    DEFINE_SYMBOL ""  # shared and static objects are the same: one compile serves both
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    # As shared libraries in a private prefix, they find one another.
    INSTALL_RPATH "\$ORIGIN")
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${mizzen_SOURCE_DIR}/include>
           $<INSTALL_INTERFACE:include>
    PRIVATE ${mizzen_SOURCE_DIR}/src)
  foreach(module IN LISTS arg_MODULES)
    target_link_libraries(${target} PUBLIC mizzen::${module})
  endforeach()
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  mizzen_build_settings(${target})

  set_property(GLOBAL APPEND PROPERTY MIZZEN_MODULES ${name})
  set_property(GLOBAL PROPERTY MIZZEN_MODULES_OF_${name} "${arg_MODULES}")
  set_property(GLOBAL PROPERTY MIZZEN_PACKAGES_OF_${name} "${arg_PACKAGES}")
endfunction()

# mizzen_find_packages("<find_package args>"...): finds what a module's PACKAGES list names, now.
macro(mizzen_find_packages)
  foreach(_mizzen_package ${ARGN})
    separate_arguments(_mizzen_package_args UNIX_COMMAND "${_mizzen_package}")
    find_package(${_mizzen_package_args} REQUIRED)
  endforeach()
endmacro()
