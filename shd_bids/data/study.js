"use strict";
// Tables whose head is pressed to sort them, and whose rows can be searched. Without this script
// they stand as they are.
(function () {
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function keyOf(cell) {
    if (!cell) return null;
    const said = cell.dataset.sort === undefined ? cell.textContent.trim() : cell.dataset.sort;
    if (said === "") return null;
    const number = Number(said);
    return Number.isNaN(number) ? said : number;
  }

  function compare(a, b) {
    const numbers = [typeof a === "number", typeof b === "number"];
    if (numbers[0] && numbers[1]) return a - b;
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
    return collator.compare(a, b);
  }

  function sortBy(table, head, descending) {
    const body = table.tBodies[0];
    const place = head.cellIndex;
    const rows = Array.from(body.rows, function (row) {
      return [keyOf(row.cells[place]), row];
    });
    rows.sort(function (one, other) {
      // what has no value stands last either way
      if (one[0] === null || other[0] === null) {
        return (one[0] === null) - (other[0] === null);
      }
      return descending ? compare(other[0], one[0]) : compare(one[0], other[0]);
    });
    body.append.apply(body, rows.map(function (pair) { return pair[1]; }));
    for (const other of table.tHead.rows[0].cells) {
      if (other === head) other.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    }
  }

  function makeSortable(table) {
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append.apply(button, Array.from(head.childNodes));
      if (head.title) button.title = head.title;
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", function () {
        sortBy(table, head, head.getAttribute("aria-sort") === "ascending");
      });
    }
  }

  function makeSearchable(table) {
    const tools = document.querySelector('[data-tools="' + table.id + '"]');
    if (!tools) return;
    const input = tools.querySelector('input[type="search"]');
    const count = tools.querySelector("output");
    const rows = Array.from(table.tBodies[0].rows, function (row) {
      const cells = Array.from(row.cells).filter(function (cell) {
        return cell.tagName === "TH" || cell.classList.contains("t");
      });
      const text = cells.map(function (cell) { return cell.textContent; }).join(" ");
      return [text.toLowerCase(), row];
    });
    function search() {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [text, row] of rows) {
        row.hidden = !words.every(function (word) { return text.includes(word); });
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
    }
    input.addEventListener("input", search);
    input.closest("label").hidden = false;
    search();
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    makeSortable(table);
    makeSearchable(table);
  }
})();
