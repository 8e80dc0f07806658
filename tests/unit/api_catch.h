// Catch2 beside our own CHECK: in tests CHECK is Catch's. The headers that use ours inline come first.
#pragma once

#include "events/check.h"
#include "events/result.h"
#undef CHECK
#include <catch2/catch.hpp>
