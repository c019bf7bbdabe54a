#include "source/ducklake/address.h"
