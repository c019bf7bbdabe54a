#include "source/ducklake/ledger.h"
