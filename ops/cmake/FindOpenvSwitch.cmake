# OpenvSwitch::OpenvSwitch: libopenvswitch with its private headers (IDL, vconn), which no Debian 12 package
# has. First what ops/setup built into its cache, then pkg-config's.
find_package(PkgConfig REQUIRED)
set(_cache "$ENV{REPRISE_CACHE}")
if(NOT _cache)
  set(_cache /var/cache/reprise)
endif()
set(_pkg_config_path "$ENV{PKG_CONFIG_PATH}")
set(ENV{PKG_CONFIG_PATH} "${_cache}/ovs/lib/pkgconfig:${_pkg_config_path}")
pkg_check_modules(_ovs QUIET libopenvswitch)
set(ENV{PKG_CONFIG_PATH} "${_pkg_config_path}")

set(OpenvSwitch_VERSION "${_ovs_VERSION}")
find_path(OpenvSwitch_INCLUDE_DIR lib/vswitch-idl.h HINTS ${_ovs_INCLUDE_DIRS} NO_DEFAULT_PATH)
find_library(OpenvSwitch_LIBRARY openvswitch HINTS ${_ovs_LIBRARY_DIRS})

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenvSwitch
  REQUIRED_VARS OpenvSwitch_LIBRARY OpenvSwitch_INCLUDE_DIR
  VERSION_VAR OpenvSwitch_VERSION
  REASON_FAILURE_MESSAGE "libopenvswitch with its private headers is not in ${_cache}/ovs: ops/setup --only build")

if(OpenvSwitch_FOUND AND NOT TARGET OpenvSwitch::OpenvSwitch)
  add_library(OpenvSwitch::OpenvSwitch UNKNOWN IMPORTED)
  set_target_properties(OpenvSwitch::OpenvSwitch PROPERTIES
    IMPORTED_LOCATION "${OpenvSwitch_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${OpenvSwitch_INCLUDE_DIR};${OpenvSwitch_INCLUDE_DIR}/lib"
    INTERFACE_LINK_LIBRARIES "atomic;rt;m;pthread")
endif()
mark_as_advanced(OpenvSwitch_INCLUDE_DIR OpenvSwitch_LIBRARY)
