// The one main of every Catch2 program: compiled once, because the header is slow.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
