"""Calls the calculator in each way that there is: python examples/rpc_client.py [PORT]"""

import asyncio
import sys

from rpc_calculator import Calculator

from fastsock import rpc


async def call_from_a_coroutine(calculator: Calculator) -> None:
    sums = await asyncio.gather(*(calculator.add.aio(number, 0.5) for number in range(3)))
    print("aio:", sums)
    print("async for:", [prime async for prime in calculator.primes.aio(12)])


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7000
    with rpc.connect(Calculator, ("127.0.0.1", port), timeout=5) as calculator:
        print("call:", calculator.add(1, 2))

        begun = [calculator.add.begin(number, number) for number in range(3)]
        print("begin:", [call.result() for call in begun])

        print("stream:", list(calculator.primes(30)))

        asyncio.run(call_from_a_coroutine(calculator))

        try:
            calculator.divide(1, 0)
        except ZeroDivisionError as error:
            print("error:", error)

        try:
            with rpc.deadline(0.05):
                print(sum(calculator.primes(10_000_000)))
        except rpc.DeadlineExceeded as error:
            print("deadline:", error)


if __name__ == "__main__":
    main()
