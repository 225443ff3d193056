/* Sort the scoreboard by any column and choose which verdicts to show. Without this script it is a plain table. */
(() => {
  "use strict";

  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim().toLowerCase();
    const number = Number(text);
    return text !== "" && !Number.isNaN(number) ? number : text;
  };

  // Numbers before words, empty cells always last.
  const compare = (a, b, sign) => {
    if (a === "" || b === "") {
      return (a === "") - (b === "");
    }
    if (typeof a !== typeof b) {
      return sign * (typeof a === "number" ? -1 : 1);
    }
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
  };

  const makeSortable = (table) => {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "scoreboard-sort";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", direction);
        const sign = direction === "ascending" ? 1 : -1;
        const body = table.tBodies[0];
        const rows = [...body.rows];
        rows.sort((a, b) => compare(key(a, column), key(b, column), sign));
        body.append(...rows);
      });
    });
  };

  const makeFilter = (board, table) => {
    const rows = [...table.tBodies[0].rows];
    const count = board.querySelector(".scoreboard-count");
    const verdicts = [...new Set(rows.map((row) => row.dataset.verdict))];
    const filter = document.createElement("fieldset");
    filter.className = "scoreboard-filter";
    const legend = document.createElement("legend");
    legend.className = "visually-hidden";
    legend.textContent = "Verdicts to show";
    filter.append(legend);
    const boxes = verdicts.map((verdict) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.value = verdict;
      label.append(box, ` ${verdict}`);
      filter.append(label);
      return box;
    });
    const show = () => {
      const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      rows.forEach((row) => {
        row.hidden = !chosen.has(row.dataset.verdict);
      });
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = `Showing ${shown} of ${rows.length} claims.`;
    };
    filter.addEventListener("change", show);
    board.prepend(filter);
    show();
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".scoreboard").forEach((board) => {
      const table = board.querySelector("table");
      makeSortable(table);
      makeFilter(board, table);
    });
  });
})();
